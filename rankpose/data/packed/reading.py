"""The packed file: a data set as one Arrow file of face crops, which opens at once and feeds a GPU from a few cores.

Each row has `name` (path of the source image below the data set's folder), `subset`, `identity`, `yaw`, `pitch`, `roll`
(degrees), `rotation` (3, 3), `landmarks` (68, 2) where the set has them and `face_box` (4), both in pixels of the crop,
`crop_left`, `crop_top`, `crop_side` (the square in pixels of the source image, first pixel's centre at 0), `image` (the
crop as JPEG) and, where the set has them, `weight` and `factors`. The schema's metadata holds a `Packing`, as JSON.
Crops are padded with black, never squeezed, and not turned, so the labels are the source's.
"""

import functools
import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rankpose.data.columns import MappedColumn, Prefixed, as_numpy, open_mapped
from rankpose.data.record import BEYOND_RANGE, BadFile, Records, Reject, numbered, one_chunk
from rankpose.errors import ConfigError, DatasetError
from rankpose.pose import ANGLES

log = logging.getLogger(__name__)

KEY = b"rankpose_packed"
VERSION = 2
_OPENS = (1, VERSION)
AGAIN = "prepare it again (python -m rankpose.prepare), or take the folder (packed=null)"


@dataclass(frozen=True)
class PackedSquare:
    """Which square around a face is packed: the smallest that holds every crop that may be asked for later."""

    size: int = 256
    """Side of the packed crop, pixels."""
    extent: float = 1.62
    """Side of the largest crop over the face box's larger side: its scale over its zoom."""
    turn_deg: float = 20.0
    """Largest in-plane turn."""
    quality: int = 92
    """Of the JPEG."""

    def __post_init__(self) -> None:
        """Refuses what cannot be packed, naming the key."""
        limits = {"size": (16, 4096), "extent": (1, 10), "turn_deg": (0, 180), "quality": (1, 100)}
        for key, (low, high) in limits.items():
            if not low <= getattr(self, key) <= high:
                raise ConfigError(f"crop.{key}={getattr(self, key)}: must be between {low} and {high}.")

    def holds(self, extent: float, turn_deg: float) -> bool:
        """Whether crops lie within the packed square, of a face of any shape.

        Args:
            extent: side of the square about the face box's middle that holds them, over the box's larger side.
            turn_deg: largest in-plane turn.
        """
        # Room for turns is room for larger crops that do not turn: of two points s apart along an axis, s cos t are
        # left after a turn by t to one side or the other, and the turned square is cos t + sin t as wide.
        turn = math.radians(min(self.turn_deg, 22.5))
        upright = math.cos(turn) * (math.cos(turn) + math.sin(turn)) if turn_deg == 0 else 1.0
        return extent <= self.extent * upright + 1e-6 and turn_deg <= self.turn_deg


@dataclass(frozen=True)
class Packing:
    """What a packed file says of itself."""

    version: int
    dataset: str
    reader: str
    """What read the set and with which settings: see `describe`."""
    max_angle: float | None
    """Images with an angle beyond +- this many degrees were left out."""
    crop: PackedSquare
    images: int
    identities: int
    rejects: tuple[Reject, ...]
    """Files that were left out."""
    plan: str
    """Digest of what was to be packed and how: names, sizes and times of the sources, labels, crop rule."""
    sources: str
    """SHA-256 of the bytes of all source images, with their names."""

    def as_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


def describe(reader: Callable[..., Records]) -> str:
    """A reader and its settings in one line, without the folder: what decides which labels a set has.

    It is called by its name alone, so that a file can be read when a module has moved.
    """
    settings: dict[str, Any] = {}
    while isinstance(reader, functools.partial):
        settings = reader.keywords | settings
        reader = reader.func
    kept = {key: value for key, value in settings.items() if key not in ("root", "max_angle", "strict")}
    return f"{reader.__qualname__} {json.dumps(kept, sort_keys=True, default=_settings)}"


def _settings(part: object) -> dict[str, Any]:
    """An object among a reader's settings, such as a source of boxes: its class and what it was made with."""
    shown = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    return {"class": type(part).__qualname__} | shown


def read_packing(path: str | Path) -> Packing:
    """What a packed file says of itself.

    Raises:
        DatasetError: missing, cut off, something else, or of another version.
    """
    try:
        metadata = open_mapped(path).schema.metadata or {}
        content = json.loads(metadata[KEY])
        version = content["version"]
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; make it with python -m rankpose.prepare out={path}.") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened ({error.strerror or error}).") from None
    except (pa.ArrowInvalid, ValueError):
        raise DatasetError(f"{path}: is cut off, or no packed file: {AGAIN}.") from None
    except (KeyError, TypeError):
        raise DatasetError(f"{path}: is an Arrow file, but none that rankpose.prepare wrote: {AGAIN}.") from None
    if version not in _OPENS:
        raise DatasetError(f"{path}: is a packed file of version {version}, this is {VERSION}: {AGAIN}.")
    rejects = tuple(Reject(**reject) for reject in content.pop("rejects"))
    return Packing(**content | {"crop": PackedSquare(**content["crop"]), "rejects": rejects})


def check_reach(key: str, path: str | Path, extent: float, turn_deg: float, instead: str) -> None:
    """Raises where crops that are to be taken from a packed file reach beyond it: what lies there would be black.

    Args:
        key: of the configuration, that names the file.
        path: the file.
        extent, turn_deg: see `PackedSquare.holds`.
        instead: another way out than to prepare another file.

    Raises:
        ConfigError: names the key, what the file holds, what is needed, and the settings that give it.
        DatasetError: see `read_packing`.
    """
    crop = read_packing(path).crop
    if not crop.holds(extent, turn_deg):
        raise ConfigError(
            f"{key}={path}: its crops reach {crop.extent:g} face boxes and turns of {crop.turn_deg:g} degrees, this "
            f"configuration needs {extent:.4g} and {turn_deg:g}, and would see black: prepare another (python -m "
            f"rankpose.prepare) with crop.extent={math.ceil(100 * extent - 1e-4) / 100:g} crop.turn_deg={turn_deg:g}, "
            f"or {instead}."
        )


def open_packed(path: str | Path) -> Records:
    """All records of a packed file; the larger columns stay in it.

    Raises:
        DatasetError: see `read_packing`.
    """
    packing = read_packing(path)
    if packing.version < VERSION:
        log.warning("%s: was packed when damaged images were taken and EXIF turned others: better %s", path, AGAIN)
    table = open_mapped(path)
    identity, identity_names = numbered(one_chunk(table, "identity"))
    return Records(
        dataset=packing.dataset,
        names=MappedColumn(path, "name"),
        images=Prefixed(f"{Path(path).resolve()}#", np.arange(len(table))),
        pose=np.column_stack([one_chunk(table, angle).to_numpy() for angle in ANGLES]),
        face_box=as_numpy(one_chunk(table, "face_box")),
        landmarks=MappedColumn(path, "landmarks") if "landmarks" in table.column_names else None,
        identity=identity,
        identity_names=identity_names,
        rejects=packing.rejects,
        weight=one_chunk(table, "weight").to_numpy() if "weight" in table.column_names else None,
    )


def read_packed(path: str | Path, reader: Callable[..., Records], max_angle: float | None) -> Records:
    """The records that `reader` would give, from a packed file.

    Args:
        path: as `rankpose.prepare` wrote it.
        reader: what would read the folder, with its settings.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.

    Raises:
        DatasetError: see `read_packing`; packed from another reader, or with fewer angles than asked for; no image
            left.
    """
    packing = read_packing(path)
    wanted = describe(reader)
    # earlier versions wrote modules before the names
    if re.sub(r"\brankpose\.[\w.]*\.(?=\w)", "", packing.reader) != wanted:
        raise DatasetError(f"{path}: was packed from {packing.reader}, this configuration reads {wanted}: {AGAIN}.")
    if packing.max_angle is not None and (max_angle is None or max_angle > packing.max_angle):
        limit = "no limit" if max_angle is None else f"+-{max_angle:g}"
        raise DatasetError(
            f"{path}: holds angles within +-{packing.max_angle:g} degrees, {limit} was asked for (max_angle): {AGAIN}."
        )
    records = open_packed(path)
    if max_angle is None:
        return records
    within = np.abs(records.pose).max(axis=1) <= max_angle
    if not within.any():
        raise DatasetError(f"{path}: holds no image with all angles within +-{max_angle:g} degrees.")
    reason = f"{BEYOND_RANGE} of +-{max_angle:g} degrees"
    beyond = tuple(Reject(records.names[int(row)], reason) for row in np.flatnonzero(~within))
    return replace(records.select(np.flatnonzero(within)), rejects=records.rejects + beyond)


def packed_image(path: str, row: int) -> pa.Buffer:
    """The JPEG of a row, without a copy; raises `BadFile` where the file is gone."""
    try:
        return _images(path)[row]
    except (OSError, pa.ArrowInvalid):
        raise BadFile("in a packed file that cannot be opened") from None


@functools.lru_cache(maxsize=8)
def _images(path: str) -> MappedColumn:
    return MappedColumn(path, "image")
