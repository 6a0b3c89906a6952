"""From a configuration to a table of poses that models said: what `python -m rankpose.label` does."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from rankpose.command.configuration import build, quiet_libraries
from rankpose.command.gathering import FACES_PARTIAL, Gathering, faces_folder, sources_in
from rankpose.data.images import size_and_time
from rankpose.data.readers.photographs import face_table, read_faces, tells_boxes
from rankpose.data.record import Records
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.names import distinct_names
from rankpose.faces.boxes import TableBoxes
from rankpose.faces.cutting import FilmSampling, Scissors
from rankpose.faces.found import not_in_the_middle
from rankpose.faces.kinds import FILMS, PICTURES, files_in, is_film
from rankpose.files import CONFIG_DIR, checkpoint_file, shipped_models, write_whole
from rankpose.predictors.onlookers import Faces, Onlooker, answers, onlooker
from rankpose.predictors.teachers import Agreement, counts
from rankpose.report.labels_page import labels_page
from rankpose.run.directory import shown
from rankpose.run.keys import assignment, literal, typed

log = logging.getLogger(__name__)


def label(config: DictConfig) -> None:
    """Finds the faces where nobody has, asks the teachers of each, and leaves the table and its page.

    Raises:
        RankPoseError: a mistake, told before the first face; films that could be read in part, when all is written.
    """
    quiet_libraries()
    root = Path(str(config.data.root))
    found = _faces_are_to_be_found(config, root)
    folder = faces_folder(root, config.out, config.overwrite) if found else None
    out = _place(root, config) if folder is None else folder / "poses.csv"
    agreement = Agreement(config.agree_deg, config.min_presence)
    names, teachers = _teachers(config)
    broken: list[str] = []
    rows: pd.DataFrame | None = None
    if folder is None:
        records = _pictures(config, root)
    else:
        rows, broken = _gathered(config, root, folder)
        records = read_faces(folder, rows)
    log.info("%s", records.summary())
    faces = Faces(teachers, records, config.mirror)
    said = asked(faces, out.with_name(f"{out.name}.partial"), names, config.num_workers)
    labels = agreement.labels(said, names, records)
    counted = counts(labels)
    if not counted.get(""):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counted.items())
        raise DatasetError(
            f"{root}: no face has a label ({reasons}). Raise agree_deg, lower min_presence, or take other teachers."
        )
    if rows is not None:
        from_where = [name for name in ("image", "source", "frame", "time") if name in rows]
        labels = labels.merge(rows[from_where], on="image", how="left", validate="1:1")
    write_whole(out, labels.to_csv(index=False) if out.suffix == ".csv" else labels.to_parquet(index=False))
    page = out.with_suffix(".html")
    write_whole(page, labels_page(labels, records, names, agreement))
    out.with_name(f"{out.name}.partial").unlink(missing_ok=True)
    if folder is not None:
        (folder / FACES_PARTIAL).unlink(missing_ok=True)
    log.info("%s: %s of %s faces have a label", shown(out), f"{counted['']:,}", f"{len(labels):,}")
    for reason, count in counted.items():
        if reason:
            log.info("  left out %s: %s", f"{count:,}", reason)
    log.info("page: %s", shown(page))
    log.info(
        "train on them: python -m rankpose.train %s",
        " ".join(_to_train(root if folder is None else folder, out, labels)),
    )
    if broken:
        raise DatasetError(broken[0] if len(broken) == 1 else f"{len(broken)} films: {' '.join(broken)}")


def _faces_are_to_be_found(config: DictConfig, root: Path) -> bool:
    """Whether the detector says where faces are, rather than a table or the middle of each picture."""
    if config.boxes not in (None, "crop", "detector"):
        raise ConfigError(f"boxes={config.boxes}: must be crop, detector or null.")
    film = root.is_file() and is_film(root)
    kinds: set[str] = set()
    if config.data.table is None and root.is_dir():
        kinds = {file.suffix.lower() for file in files_in(root, Path(config.out or root / "poses.csv"))}
    films = film or not kinds.isdisjoint(FILMS)
    if film and config.boxes == "crop":
        raise ConfigError(f"boxes=crop: {root} is a film, whose faces the detector finds; leave boxes= out.")
    if film and config.data.table is not None:
        raise ConfigError(f"data.table={config.data.table}: tells of pictures, and {root} is a film; leave it out.")
    if config.boxes is not None or not films:
        return bool(config.boxes == "detector")
    if not kinds.isdisjoint(PICTURES):
        raise ConfigError(
            f"data.root={root}: holds films as well as pictures. boxes=detector finds the faces in both, boxes=crop "
            "takes the pictures alone, as crops around a face."
        )
    return True


def _pictures(config: DictConfig, root: Path) -> Records:
    """Pictures whose faces a table tells, or that are crops around a face.

    Raises:
        DatasetError: no table tells where faces are, and most pictures are no crops.
    """
    columns: Any = dict(config.data.columns or {})
    rows = face_table(root, config.data.table, columns)
    records = read_faces(root, rows, crop_scale=config.data.crop_scale)
    if config.data.identity is not None:
        records = records.identified(config.data.identity)
    if config.boxes is None and not tells_boxes(rows):
        elsewhere, looked = not_in_the_middle(records, build(config.detector))
        if 2 * elsewhere > looked:
            raise DatasetError(
                f"{root}: nobody says where the faces are, and in {elsewhere} of {looked} pictures the face is not in "
                "the middle, or of another size than data.crop_scale says. boxes=detector finds the faces, boxes=crop "
                "takes the pictures as they are."
            )
    return records


def _gathered(config: DictConfig, root: Path, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table of the faces that the detector finds, and which films could not be read or not whole."""
    for key in ("faces", "film"):
        if not isinstance(config[key], DictConfig):
            raise ConfigError(f"{key}={config[key]}: has keys of its own, which conf/label.yaml explains.")
    scissors, sampling = Scissors(**config.faces), FilmSampling(**config.film)
    columns: Any = dict(config.data.columns or {})
    sources = sources_in(root, folder, config.data.table, columns, config.data.identity)
    detector = build(config.detector)
    if isinstance(detector, TableBoxes):
        raise ConfigError("detector=boxes: finds nothing; a table of faces to label is data.table=FILE.")
    rows, failures = Gathering(folder, detector, scissors, sampling)(sources, OmegaConf.to_container(config.detector))
    if rows.empty:
        first = next(iter(failures.values()), "")
        if first and len(sources) == 1:
            raise DatasetError(first)
        told = f" {len(failures):,} could not be read, the first: {first}" if first else ""
        raise DatasetError(
            f"{root}: no face is found in {len(sources):,} file{'s' * (len(sources) > 1)}.{told} Lower "
            "faces.min_side or detector.min_score, or take another detector=."
        )
    without = sum(source.name not in set(rows["source"]) for source in sources)
    files = f"{len(sources):,} file{'s' * (len(sources) > 1)}"
    log.info(
        "%s: %s faces in %s%s", shown(folder), f"{len(rows):,}", files, f", {without:,} without" if without else ""
    )
    return rows, [failures[source.name] for source in sources if source.film and source.name in failures]


def _to_train(root: Path, out: Path, labels: pd.DataFrame) -> list[str]:
    """The arguments of a training on the labels."""
    people = labels["identity"][labels["rejected"] == ""].value_counts()
    if len(people) >= _MANY:
        return ["data=photographs", "augment=photographs", *_given("data", root, out)]
    # so few cannot be split; renders judge the network
    source = "data.sources.photographs"
    draws = -(-int(people.sum()) // len(people))
    shares = [f"{source}.split.{part}_share=0" for part in ("val", "test")]
    return [
        *("data=mixture", *_given(source, root, out), *shares),
        f"{source}.draws_per_identity={max(draws, -(-_MANY // len(people)))}",
    ]


def _given(where: str, root: Path, out: Path) -> list[str]:
    below = out.parent.resolve() == root.resolve() and out.name == "poses.csv"
    table = [] if below else [typed(f"{where}.reader.table", shown(out))]
    return [typed(f"{where}.root", shown(root)), *table]


_MANY = 64
"""People from which on a training on these alone is worth it: a batch of them, and some to test on."""


def _place(root: Path, config: DictConfig) -> Path:
    """Where the table goes; raises `ConfigError` where one is already or its name says no format."""
    default = root / "poses.csv" if root.is_dir() else root.with_name(f"{root.stem}_poses.csv")
    out = Path(str(config.out)) if config.out else default
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out={out}: must end with .csv or .parquet.")
    if out.exists() and not config.overwrite:
        raise ConfigError(f"out={out}: is there already; overwrite=true replaces it, out=FILE takes another.")
    return out


def _teachers(config: DictConfig) -> tuple[list[str], list[Onlooker]]:
    """What the teachers are called, and they themselves."""
    wanted = [str(one) for one in ([config.teacher] if isinstance(config.teacher, str) else config.teacher)]
    if not wanted:
        raise ConfigError("teacher: names nobody.")
    files = sorted(Path(CONFIG_DIR, "predictor").glob("*.yaml"))
    models = [file.stem for file in files if file.stem not in ("checkpoint", "onnx", "table")]
    roots = [assignment(f"++roots.{key}", path) for key, path in config.roots.items()]
    named: list[tuple[str, tuple[str, ...]]] = []
    found: list[Onlooker] = []
    for one in wanted:
        path = Path(one)
        if one in models:
            content = hydra.compose("label", ["data.root=x", f"+predictor={one}", *roots]).predictor
            named.append((one, (one,)))
        elif path.suffix in (".yaml", ".yml"):
            content = OmegaConf.create({"_target_": "rankpose.predictors.onnx_predictor", "description": literal(one)})
            named.append((path.stem, path.absolute().with_suffix("").parts))
        elif path.exists() or one in shipped_models():
            file = checkpoint_file(path)
            content = OmegaConf.create(
                {"_target_": "rankpose.predictors.CheckpointPredictor", "checkpoint": literal(str(file))}
            )
            run = file.parent.parent if file.parent.name == "checkpoints" else file
            named.append((run.stem, file.absolute().with_suffix("").parts))
        else:
            known = ", ".join([*models, *shipped_models()])
            raise ConfigError(f"teacher={one}: is no run, checkpoint or description, and not one of {known}.")
        found.append(onlooker(build(content)))
    return distinct_names(named), found


def asked(faces: Faces, partial: Path, names: list[str], num_workers: int | None) -> np.ndarray:
    """What is said of every face; each answer goes into a file at once, from which a stopped run goes on.

    Args:
        faces: whom to ask about what.
        partial: the file; it has what a run before this one was told, where that asked the same.
        names: of the teachers.
        num_workers: as of `answers`.

    Returns:
        (N, M, 4), see `Faces`.
    """
    question = _fingerprint(faces.records, names, faces.mirror)
    known: dict[int, list[list[float]]] = {}
    if partial.is_file():
        first, *lines = partial.read_text(encoding="utf-8").splitlines()
        if first == question:
            # the last line may be cut off
            known = {row: said for row, said in (json.loads(line) for line in lines if line.endswith("]]]"))}
            log.info("going on after %s of %s faces", f"{len(known):,}", f"{len(faces):,}")
    rows = [row for row in range(len(faces)) if row not in known]
    partial.parent.mkdir(parents=True, exist_ok=True)
    write_whole(partial, "\n".join([question, *(json.dumps([row, said]) for row, said in known.items())]) + "\n")
    with partial.open("a", encoding="utf-8") as file:
        found = tqdm(answers(faces, rows, num_workers), "faces", len(faces), initial=len(known), disable=None)
        for row, said in zip(rows, found, strict=True):
            known[row] = said.tolist()
            file.write(json.dumps([row, known[row]]) + "\n")
            file.flush()
    return np.array([known[row] for row in range(len(faces))], np.float64)


def _fingerprint(records: Records, names: list[str], mirror: bool) -> str:
    """What answers are answers to: the same text for the same question."""
    pictures = [f"{image} {size_and_time(str(image))}" for image in np.asarray(records.images)]
    boxes = records.face_box.round(2).tolist()
    digest = hashlib.sha256(json.dumps([pictures, boxes]).encode()).hexdigest()
    return f"{names} {mirror} {digest}"
