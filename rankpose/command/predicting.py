"""From what is asked to answers: the table of poses, and pictures and films with the poses drawn on them."""

import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tqdm import tqdm

from rankpose.answers.drawing import draw_heads
from rankpose.answers.film_file import FilmFile
from rankpose.answers.films import FilmPoses, film_rows
from rankpose.answers.photographs import picture_poses
from rankpose.answers.rows import Row, row_of, write_rows
from rankpose.command.asked import Asked
from rankpose.command.configuration import build, check_own_keys
from rankpose.errors import ConfigError, DatasetError, RankPoseError
from rankpose.faces.films import Camera, Film, Frame, read_ahead
from rankpose.faces.smoothing import OneEuro
from rankpose.files import NO_ROOM, no_room_for, write_whole
from rankpose.predictors.load import Estimator, predictor_of
from rankpose.run.directory import shown
from rankpose.run.stopping import give_back, known_signals, only_once

log = logging.getLogger(__name__)

WINDOW = "rankpose: q ends"


class Stop:
    """Whether a signal has asked to end: what was done until then is kept."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        only_once(number)
        self.by = signal.Signals(number)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Has Ctrl-C and SIGTERM end the work after the frame or picture at hand."""
    stop = Stop()
    before = {number: signal.signal(number, stop) for number in known_signals(("SIGINT", "SIGTERM"))}
    try:
        yield stop
    finally:
        give_back(before, stop)


def predict(config: DictConfig, asked: Asked) -> None:
    """Answers what is asked.

    Raises:
        RankPoseError: what could not be read or written, told after everything else is done and written.
    """
    check_own_keys(config, "predict")
    OneEuro(**{key: value for key, value in _plain(config.smoothing).items() if key != "_target_"})
    predictor = predictor_of(asked.model, config.device)
    estimator = Estimator(predictor, _detector(config, asked), int(config.batch_size))
    rows: list[Row] = []
    failures: list[str] = []
    faceless = 0
    with stopping() as stop:
        try:
            faceless = _pictures(config, asked, estimator, rows, failures, stop)
            for name, path in asked.films:
                if stop.by is None:
                    _film(config, asked, estimator, name, partial(Film, path), rows, failures, stop)
            if asked.camera is not None:
                name = f"camera{asked.camera}"
                _film(config, asked, estimator, name, partial(Camera, asked.camera), rows, failures, stop)
        finally:
            if rows:
                _telling_no_room(asked.table, write_rows, asked.table, rows)
    _report(asked, rows, failures, faceless, stop)


def _detector(config: DictConfig, asked: Asked) -> Any:
    if asked.boxes is None:
        return build(config.detector)
    from rankpose.faces.boxes import TableBoxes

    own = config.detector if config.detector.get("_target_", "").endswith("TableBoxes") else {}
    return TableBoxes(asked.boxes, **{key: own[key] for key in ("side", "lower") if key in own})


def _pictures(
    config: DictConfig, asked: Asked, estimator: Estimator, rows: list[Row], failures: list[str], stop: Stop
) -> int:
    """Adds the rows of all pictures and writes those; gives how many have no face."""
    faceless = 0
    bar = tqdm(total=len(asked.pictures), unit="picture", disable=None if len(asked.pictures) > 1 else True)
    with bar:
        for answer in picture_poses(estimator, asked.pictures):
            bar.update()
            if stop.by is not None:
                break
            if answer.picture is None:
                failures.append(answer.failure)
                _say(answer.failure)
                continue
            if answer.picture.note:
                _say(f"{answer.name}: {answer.picture.note}")
            people = range(1, len(answer.heads) + 1)
            if not answer.heads:
                faceless += 1
                _say(f"{answer.name}: no face found")
                rows.append(row_of(answer.name, None, None, None, None))
            rows += [row_of(answer.name, *one, None, None) for one in zip(answer.heads, people, strict=True)]
            if answer.name in asked.drawn:
                drawn = draw_heads(answer.picture.image, answer.heads, people, str(config.draw))
                _telling_no_room(asked.drawn[answer.name], _write_picture, asked.drawn[answer.name], drawn)
    return faceless


def _write_picture(path: Path, image: np.ndarray) -> None:
    kind = {".png": "PNG", ".webp": "WEBP"}.get(path.suffix.lower(), "JPEG")
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **({} if kind == "PNG" else {"quality": 92}))
    write_whole(path, content.getvalue())


def _film(
    config: DictConfig,
    asked: Asked,
    estimator: Estimator,
    name: str,
    opened: Callable[[], Film | Camera],
    rows: list[Row],
    failures: list[str],
    stop: Stop,
) -> None:
    """Adds the rows of a film's frames, and writes the film."""
    try:
        source = opened()
    except DatasetError as error:
        failures.append(str(error))
        _say(str(error))
        return
    live = isinstance(source, Camera)
    poses = FilmPoses(
        estimator,
        source.rate,
        every=1 if live else int(config.film.every),
        size=config.film.size,
        frames=1 if live else int(config.film.frames),
        smoothing=partial(build, config.smoothing) if config.smooth else None,
        patience_s=float(config.film.patience_s),
    )
    if source.note:
        _say(f"{name}: {source.note}")
    done = with_face = 0
    with ExitStack() as stack:
        stack.enter_context(source)
        film = None
        if name in asked.drawn:
            film = FilmFile(asked.drawn[name], source, int(config.film.quality))
            stack.callback(film.discard)
        show = _screen(live)
        bar = stack.enter_context(tqdm(total=source.expected or None, unit="frame", desc=name, disable=None))
        sound = film.sound if film else None
        frames = source.frames() if isinstance(source, Camera) else read_ahead(source, sound)
        for seen in poses(_until(stop, frames)):
            rows += film_rows(name, seen)
            done, with_face = done + 1, with_face + bool(seen.heads)
            if film or show:
                drawn = draw_heads(seen.frame.image, seen.heads, seen.people, str(config.draw))
                if film:
                    film.write(seen.frame, drawn)
                if show and not show(drawn):
                    break
            bar.update()
        if film:
            film.close()
            if film.silent:
                _say(f"{name}: its sound is of a kind that cannot be written; the film has none.")
    people = len({row["person"] for row in rows if row["file"] == name and row["person"] is not None})
    _say(f"{name}: {done} frames, {with_face} with a face, {people} {'person' if people == 1 else 'people'}")
    if source.damage and stop.by is None:
        failures.append(f"{name}: {source.damage}; what could be read is kept.")
        _say(failures[-1])


def _until(stop: Stop, frames: Generator[Frame, None, None]) -> Iterator[Frame]:
    with closing(frames):  # ends its reader as well
        for frame in frames:
            if stop.by is not None:
                return
            yield frame


def _screen(live: bool) -> Callable[[np.ndarray], bool] | None:
    """Shows frames of a camera where there is a screen: says of each whether it goes on."""
    if not live or not (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
        return None
    import cv2

    def show(image: np.ndarray) -> bool:
        cv2.imshow(WINDOW, image[..., ::-1])
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))

    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error:  # an OpenCV without windows
        return None
    return show


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stdout)


def _telling_no_room(path: Path, write: Callable[..., None], *arguments: Any) -> None:
    try:
        write(*arguments)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DatasetError(f"{shown(path)}: {no_room_for('it', path.parent, error)}.") from error
        raise DatasetError(f"{shown(path)}: cannot be written ({error.strerror}).") from error


def _report(asked: Asked, rows: list[Row], failures: list[str], faceless: int, stop: Stop) -> None:
    if asked.passed_over:
        log.info("passed over, neither pictures nor films: %s", _kinds(asked))
    if rows:
        heads = sum(row["yaw"] is not None for row in rows)
        without = f", {faceless} without a face" if faceless else ""
        log.info("%s: %s heads in %s files%s", shown(asked.table), heads, len({row["file"] for row in rows}), without)
    if stop.by is not None:
        log.info("stopped by %s; what was done before is kept", stop.by.name)
        sys.exit(128 + stop.by)
    if failures:
        count = len(asked.pictures) + len(asked.films)
        raise _unread(failures, count)


def _kinds(asked: Asked) -> str:
    return ", ".join(f"{count} {kind or 'without an ending'}" for kind, count in asked.passed_over.most_common(8))


def _unread(failures: list[str], count: int) -> RankPoseError:
    if count == 1:
        return DatasetError(failures[0])
    return DatasetError(f"{len(failures)} of {count} files could not be read or not whole: {' '.join(failures)}")


def _plain(part: Any) -> dict[str, Any]:
    content = OmegaConf.to_container(part, resolve=True)
    if not isinstance(content, dict):
        raise ConfigError("smoothing: must be keys and values; smooth=false turns it off.")
    return {str(key): value for key, value in content.items()}
