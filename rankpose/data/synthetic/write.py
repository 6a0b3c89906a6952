"""How do drawn heads become a dataset on disk? In 300W-LP's own layout, so that its reader reads them.

A set is a folder:

- `SYN_TRAIN/`, `SYN_VAL/`, ... a folder a split, each with `SYN_000123_0.jpg` and `SYN_000123_0.mat`: the part before
  the last `_N` is the identity, unique over all splits; N counts the pictures of that person.
- The `.mat` has 300W-LP's fields in its shapes and types. `Pose_Para` (pitch, yaw, roll in radians, tx, ty, tz,
  scale) and `pt2d` mean what they mean there; `roi` is the whole picture. `Shape_Para` (the person's numbers, colours
  apart), `Tex_Para` (the person's colours), `Exp_Para` (the expression), `Illum_Para` (key direction, key, fill, rim,
  ambient, shadow, exposure, camera distance in cm) and `Color_Para` (white balance, contrast, gamma, saturation, haze)
  hold this project's own parameters, padded with zeros: they are no coefficients of 300W-LP's face model.
- `factors.parquet` in every split folder: one row a picture with all that was drawn, by name.
- `synthetic.json`: what was asked for.

The same seed gives the same bytes whatever the number of processes: each identity has its own random numbers. A set is
written beside its place and renamed when whole, so a folder that is there is complete.
"""

import contextlib
import errno
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from tqdm import tqdm

from rankpose.data import pool
from rankpose.data.synthetic import poses, scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.errors import DatasetError
from rankpose.files import NO_ROOM, no_room_for

RENDERER_VERSION = 2
"""To be raised when the same seed gives other pictures: sets of another version are then not taken for wanted ones."""
BYTES_PER_IMAGE = 16_000
"""Picture, `.mat` and row on a disk with blocks of 4 KiB, rounded up."""
_DESCRIPTION = "synthetic.json"
_COLOUR_PREFIXES = ("skin_", "hair_red", "hair_green", "hair_blue", "cloth_", "hat_")
_ROW_GROUP = 4096


class SyntheticSetError(DatasetError):
    """The set cannot be made or used; the message is one line that names the folder and the way out."""


@dataclass(frozen=True)
class Settings:
    """What decides every byte of a set."""

    identities: dict[str, int]
    images_per_identity: int
    expressions_per_identity: int
    seed: int
    renderer_version: int = RENDERER_VERSION
    image_size: int = scene.IMAGE_SIZE

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not self.identities or min(self.identities.values()) < 0 or sum(self.identities.values()) == 0:
            raise ValueError(f"identities must be a count for each split, at least one in all: {self.identities}")
        if not 1 <= self.expressions_per_identity <= self.images_per_identity:
            raise ValueError("expressions_per_identity must be between 1 and images_per_identity")

    @property
    def images(self) -> int:
        """Pictures in all."""
        return sum(self.identities.values()) * self.images_per_identity


def split_folder(split: str) -> str:
    """The folder's name for a split: train -> SYN_TRAIN."""
    return f"SYN_{split.upper()}"


def ensure_synthetic(
    root: Path,
    identities: Mapping[str, int],
    images_per_identity: int = 16,
    expressions_per_identity: int = 4,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Make the set if it is not there; at once if it is. Returns `root`.

    Several processes may call this at once: one draws, the others wait. Raises `SyntheticSetError` when `root` holds
    something else, or there is no room.
    """
    root = Path(root).resolve()
    settings = Settings(dict(identities), images_per_identity, expressions_per_identity, seed)
    if not _is_there(root, settings):
        with _only_writer(root, settings):
            if not _is_there(root, settings):
                _write(root, settings, workers, progress)
    return root


def write_synthetic(
    root: Path,
    identities: Mapping[str, int],
    images_per_identity: int = 16,
    expressions_per_identity: int = 4,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Draw a set of `identities` (how many people for each split) at `root`, which must not hold anything yet.

    `workers` processes draw (default: one a core). Raises `SyntheticSetError`.
    """
    root = Path(root).resolve()
    settings = Settings(dict(identities), images_per_identity, expressions_per_identity, seed)
    with _only_writer(root, settings):
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise SyntheticSetError(f"{root} is already there: delete it, or name another folder")
        _write(root, settings, workers, progress)


def _is_there(root: Path, settings: Settings) -> bool:
    """Whether `root` is the wanted set; an error if it is anything else but missing or empty."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    way_out = "delete the folder to draw it again, or name another one"
    try:
        found = json.loads((root / _DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SyntheticSetError(f"{root} holds something, but no synthetic set ({_DESCRIPTION}): {way_out}") from None
    wanted = asdict(settings)
    other = [f"{key} {found.get(key)} instead of {value}" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise SyntheticSetError(f"{root} holds a synthetic set with {', '.join(other)}: {way_out}")
    return True


@contextlib.contextmanager
def _only_writer(root: Path, settings: Settings) -> Iterator[None]:
    """One process at a time makes `root`."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{root}.lock")
        lock.acquire()
    except OSError as error:
        raise _explain(error, root, settings) from error
    try:
        yield
    finally:
        lock.release()


def _explain(error: OSError, root: Path, settings: Settings) -> SyntheticSetError:
    """One line for the user instead of a traceback's last."""
    if error.errno not in NO_ROOM:
        return SyntheticSetError(f"cannot write the synthetic set {root}: {error.strerror or error}")
    what = f"the synthetic set {root} of about {settings.images * BYTES_PER_IMAGE / 1e9:.2f} GB"
    return SyntheticSetError(
        f"{no_room_for(what, root.parent, error)}; make room, ask for fewer identities, or name a folder on another "
        "disk"
    )


def _check_room(root: Path, settings: Settings) -> None:
    """Fail before hours of work, not after."""
    if shutil.disk_usage(root.parent).free < settings.images * BYTES_PER_IMAGE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write(root: Path, settings: Settings, workers: int | None, progress: bool) -> None:
    """Draw everything beside `root`, then rename. The caller holds the lock, so older leftovers are dead."""
    for leftover in root.parent.glob(f"{root.name}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = root.with_name(f"{root.name}.partial-{os.getpid()}")
    try:
        _check_room(root, settings)
        unfinished.mkdir()
        with (
            pool.workers(workers, sum(settings.identities.values()), chunk=2) as mapped,
            tqdm(total=settings.images, unit="image", desc=root.name, disable=not progress, smoothing=0.02) as bar,
        ):
            first = 0
            for split, count in settings.identities.items():
                _write_split(unfinished / split_folder(split), range(first, first + count), settings, mapped, bar)
                first += count
        (unfinished / _DESCRIPTION).write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
        unfinished.rename(root)  # replaces an empty folder
    except OSError as error:
        raise _explain(error, root, settings) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_split(folder: Path, numbers: range, settings: Settings, mapped: pool.Mapped, bar: "tqdm[Any]") -> None:
    """The pictures and the table of one split."""
    folder.mkdir()
    tables = mapped(partial(write_identity, folder, settings), numbers)
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            bar.update(table.num_rows)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(folder / "factors.parquet", table.schema))
            if sum(part.num_rows for part in waiting) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if writer is not None and waiting:
            writer.write_table(pa.concat_tables(waiting))


def write_identity(folder: Path, settings: Settings, number: int) -> pa.Table:
    """Draw all pictures of one person into `folder`; returns their rows of the table of factors."""
    rng = np.random.default_rng([settings.seed, number])
    identity = make_identity(int(rng.integers(2**31)))
    identity_factors = _plain(identity.factors())
    labels = poses.draw_poses(rng, settings.images_per_identity)
    rows: list[dict[str, float | str]] = []
    shown = -1
    for index, label in enumerate(labels):
        wanted = index * settings.expressions_per_identity // settings.images_per_identity
        if wanted != shown:
            shown, expression = wanted, draw_expression(rng)
            mesh, expression_factors = build_mesh(identity, expression), _plain(expression.factors())
        drawn = scene.draw_scene(rng)
        scene_factors = _plain(drawn.factors())
        picture, landmarks = scene.render(mesh, label, drawn)
        name = f"SYN_{number:06d}_{index}"
        _, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, drawn.jpeg_quality]
        )
        (folder / f"{name}.jpg").write_bytes(encoded.tobytes())
        fields = mat_fields(label, mesh.landmarks, landmarks, identity_factors, expression_factors, drawn)
        (folder / f"{name}.mat").write_bytes(mat_bytes(fields))
        row: dict[str, float | str] = {"file": f"{name}.jpg", "identity": f"SYN_{number:06d}"}
        row.update(zip(("yaw", "pitch", "roll"), map(float, label), strict=True))
        for prefix, factors in zip(
            ("identity", "expression", "scene"), (identity_factors, expression_factors, scene_factors), strict=True
        ):
            row.update({f"{prefix}_{key}": value for key, value in factors.items()})
        rows.append(row)
    return pa.Table.from_pylist(rows)


def _plain(factors: Mapping[str, object]) -> dict[str, float | str]:
    """Texts as they are, all else as float, so that each column of the table has one type in every set."""
    return {key: value if isinstance(value, str) else float(value) for key, value in factors.items()}  # type: ignore[arg-type]


def mat_fields(
    label: np.ndarray,
    landmarks: np.ndarray,
    landmarks_2d: np.ndarray,
    identity: Mapping[str, float | str],
    expression: Mapping[str, float | str],
    drawn: scene.Scene,
) -> dict[str, np.ndarray]:
    """300W-LP's fields for one picture.

    `label` is yaw, pitch, roll in degrees, `landmarks` (68, 3) cm at zero pose, `landmarks_2d` (68, 2) pixels. The
    scale (pixels a centimetre) and tx, ty (pixels, y up) are those of the nearest weak-perspective camera.
    """
    size = scene.IMAGE_SIZE
    turned = (landmarks @ poses.label_to_rotation(label).T)[:, :2]
    upright = np.stack([landmarks_2d[:, 0], size + 1 - landmarks_2d[:, 1]], 1)
    centred = turned - turned.mean(0)
    scale = (centred * upright).sum() / (centred**2).sum()
    shift = upright.mean(0) - scale * turned.mean(0)
    colours = [v for k, v in identity.items() if k.startswith(_COLOUR_PREFIXES)]
    others = [v for k, v in identity.items() if not k.startswith((*_COLOUR_PREFIXES, "seed"))]
    light = [*drawn.key_direction, drawn.key_strength, drawn.fill_strength, drawn.rim_strength, drawn.ambient]
    light += [drawn.shadow, drawn.exposure, drawn.distance_cm]
    film = [*drawn.white_balance, drawn.contrast, drawn.gamma, drawn.saturation, drawn.haze]
    yaw, pitch, roll = np.radians(label)
    return {
        "pt2d": landmarks_2d.T.astype(np.float64),
        "roi": np.array([[1, 1, size, size]], np.int16),
        "Illum_Para": np.array([light], np.float64),
        "Color_Para": np.array([film], np.float32),
        "Tex_Para": _column(colours, 199),
        "Shape_Para": _column(others, 199),
        "Exp_Para": _column(list(expression.values()), 29),
        "Pose_Para": np.array([[pitch, yaw, roll, *shift, 0.0, scale]], np.float32),
    }


def _column(values: list[float | str], length: int) -> np.ndarray:
    """(length, 1) float64: the numbers among `values`, padded with zeros."""
    numbers = [value for value in values if not isinstance(value, str)]
    column = np.zeros((length, 1))
    column[: len(numbers), 0] = numbers[:length]
    return column


def mat_bytes(fields: Mapping[str, np.ndarray]) -> bytes:
    """A MATLAB 5 file of 2-D arrays; unlike scipy's it holds no date, so the same fields give the same bytes."""
    text = b"MATLAB 5.0 MAT-file, RankPose synthetic head".ljust(116)
    parts = [text, bytes(8), struct.pack("<H2s", 0x0100, b"IM")]
    for name, array in fields.items():
        packed = zlib.compress(_mat_matrix(name, array), 1)
        parts.append(struct.pack("<II", 15, len(packed)) + packed)
    return b"".join(parts)


def _mat_matrix(name: str, array: np.ndarray) -> bytes:
    """One array as an element of a MATLAB 5 file: flags, dimensions, name, numbers in column order."""
    kind, number_type = {"float64": (6, 9), "float32": (7, 7), "int16": (10, 3)}[array.dtype.name]
    body = _mat_element(6, struct.pack("<II", kind, 0))
    body += _mat_element(5, struct.pack("<ii", *array.shape))
    body += _mat_element(1, name.encode())
    body += _mat_element(number_type, array.tobytes(order="F"))
    return struct.pack("<II", 14, len(body)) + body


def _mat_element(number_type: int, data: bytes) -> bytes:
    """Type, length and data, padded to 8 bytes."""
    return struct.pack("<II", number_type, len(data)) + data + bytes(-len(data) % 8)
