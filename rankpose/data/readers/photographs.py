"""One's own pictures: a folder of them, or a zip file, and a table of poses.

Format
    * A table, CSV or Parquet, with `image` (the picture's path below the folder, or in the zip file) and `yaw`, `pitch`
      and `roll` in degrees, in the project's convention (`rankpose.pose.conventions`).
    * Where it has them: `identity` (who: any text), `weight` (how much the image counts in a loss, 1 without),
      `rejected` (empty or 0 takes the image; a text is the reason why not), and where the face is: `left`, `top`,
      `right`, `bottom`, or `x0`, `y0` to `x67`, `y67` (the 68 landmarks), pixels of the picture. Without any of these a
      picture is taken for a crop around a face.
    * Several annotators may have columns of their own, as `fit_yaw` and `mesh_yaw`: the label is the mean of their
      rotations where they agree.
Identity
    That of the table; without such a column the picture's folder, and a picture that is in none is an identity of its
    own. `data.identity` takes it from the file's name instead.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from rankpose.data.images import check_image, inside
from rankpose.data.readers.sources import PHOTOGRAPHS
from rankpose.data.record import BEYOND_RANGE, BadFile, Records, Reject, Splits, numbered, split_by_share
from rankpose.errors import ConfigError, DatasetError
from rankpose.pose import ANGLES, euler_to_rotmat, mean_rotation, rotmat_to_euler, spread

NAME = PHOTOGRAPHS.name
_BOX = ["left", "top", "right", "bottom"]
_LANDMARKS = [f"{axis}{k}" for k in range(68) for axis in "xy"]
_RADIANS = 3.2
"""Angles of faces that all lie below are in radians more likely than in degrees."""
_NO = ("", "0", "0.0", "false", "no", "nan", "none")
_YES = ("1", "1.0", "true", "yes")


def read_photographs(
    root: str | Path,
    table: str | Path = "poses.csv",
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    crop_scale: float = 1.5,
    annotators: Sequence[str] | None = None,
    agree_deg: float = 15.0,
    alone_beyond_deg: float = 60.0,
    weighted: bool = True,
    max_angle: float | None = 99.0,
    strict: bool = False,
) -> Records:
    """Reads pictures and their table.

    Args:
        root: a folder, or a zip file, which is read as it is.
        table: CSV or Parquet; a path as given, or below the folder (beside the zip file).
        columns: names that the table's columns have instead of ours, as `{identity: person}`.
        unit: `degrees` or `radians`; None is degrees, and refuses a table that looks like radians.
        crop_scale: where the table says no face box: the side of the picture over that of the face box in its middle.
        annotators: prefixes of columns, as `fit` for `fit_yaw`, `fit_pitch`, `fit_roll`; the label is the mean rotation
            of all.
        agree_deg: images are left out whose annotators differ by more than this.
        alone_beyond_deg: where the first annotator's |yaw| is larger, it is taken alone.
        weighted: images count as the table's `weight` says; False: all alike.
        max_angle: leave out images with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable picture instead of leaving it out.

    Raises:
        DatasetNotFoundError: no such folder or table.
        DatasetError: a table that cannot be used, an unusable picture (strict), or none usable.
    """
    root = Path(root)
    if not root.exists():
        raise PHOTOGRAPHS.missing(root)
    if unit not in (None, "degrees", "radians"):
        raise ConfigError(f"data.reader.unit={unit}: must be degrees or radians.")
    if not crop_scale > 0:
        raise ConfigError(f"data.reader.crop_scale={crop_scale}: must be above 0.")
    file = _place(root, table)
    rows = _read_table(file).rename(columns={theirs: ours for ours, theirs in (columns or {}).items()})
    names = _names(file, rows)
    rejects: dict[int, tuple[str, bool]] = _rejected(rows)
    pose = _labels(file, rows, unit, annotators, agree_deg, alone_beyond_deg, rejects)
    weight = _numbers(file, rows, ["weight"])[:, 0].astype(np.float32) if weighted and "weight" in rows else None
    if weight is not None and (weight[np.isfinite(weight)] < 0).any():
        raise DatasetError(f"{file}: {names[int(np.argmax(weight < 0))]}: has a weight below 0.")
    box, landmarks = _where(file, rows)
    return _records(
        root, file, rows, names, pose, rejects, weight, box, landmarks, crop_scale, max_angle=max_angle, strict=strict
    )


def read_faces(
    root: str | Path,
    table: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    crop_scale: float = 1.5,
) -> Records:
    """Reads pictures whose poses are not known: all of their poses are 0.

    Args:
        root: a folder, however deep, or a zip file.
        table: says which pictures there are and where their faces are; None takes all pictures.
        columns, crop_scale: as of `read_photographs`.

    Raises:
        DatasetNotFoundError: no such folder or table, or no picture there.
        DatasetError: a table that cannot be used, or no picture that can.
    """
    root = Path(root)
    if not root.exists():
        raise PHOTOGRAPHS.missing(root, how="Set data.root to a folder or zip file of pictures.")
    if not crop_scale > 0:
        raise ConfigError(f"data.crop_scale={crop_scale}: must be above 0.")
    if table is None:
        file, rows = root, pd.DataFrame({"image": _pictures(root)})
        if rows.empty:
            raise PHOTOGRAPHS.missing(root, f"holds no picture ({', '.join(PICTURES)})", "Set data.root to some.")
    else:
        file = _place(root, table)
        rows = _read_table(file).rename(columns={theirs: ours for ours, theirs in (columns or {}).items()})
    names = _names(file, rows)
    box, landmarks = _where(file, rows)
    pose = np.zeros((len(names), 3), np.float32)
    return _records(root, file, rows, names, pose, _rejected(rows), None, box, landmarks, crop_scale)


PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""How the names of pictures end, in small letters."""


def _pictures(root: Path) -> list[str]:
    """The names of all pictures of a folder or a zip file, in order."""
    if root.is_dir():
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    else:
        try:
            with zipfile.ZipFile(root) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{root}: is no folder, and no zip file that can be read ({error}).") from error
    return sorted(name for name in names if name.lower().endswith(PICTURES))


def _where(file: Path, rows: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The face boxes (N, 4) and the landmarks (N, 68, 2), pixels, as far as the table has them."""
    landmarks = None
    if set(_LANDMARKS) <= set(rows):
        landmarks = _numbers(file, rows, _LANDMARKS).astype(np.float32).reshape(-1, 68, 2)
    box = np.concatenate([landmarks.min(1), landmarks.max(1)], 1) if landmarks is not None else None
    if set(_BOX) <= set(rows):
        box = _numbers(file, rows, _BOX).astype(np.float32)
    return box, landmarks


def _records(
    root: Path,
    file: Path,
    rows: pd.DataFrame,
    names: Sequence[str],
    pose: np.ndarray,
    rejects: dict[int, tuple[str, bool]],
    weight: np.ndarray | None,
    box: np.ndarray | None,
    landmarks: np.ndarray | None,
    crop_scale: float,
    max_angle: float | None = None,
    strict: bool = False,
) -> Records:
    """The records of a table, after a look at each picture."""
    images = [inside(root, name) for name in names]
    face_box = np.zeros((len(names), 4), np.float32) if box is None else box
    for i, image in enumerate(images):
        if i in rejects:
            continue
        reason = _reason(pose[i], None if weight is None else weight[i], None if box is None else box[i])
        try:
            if reason is not None:
                raise BadFile(reason)
            width, height = check_image(image)
        except BadFile as bad:
            rejects[i] = bad.reason, True
            continue
        if box is None:
            half = min(width, height) / crop_scale / 2
            face_box[i] = (
                (width - 1) / 2 - half,
                (height - 1) / 2 - half,
                (width - 1) / 2 + half,
                (height - 1) / 2 + half,
            )
        if max_angle is not None and np.abs(pose[i]).max() > max_angle:
            rejects[i] = f"{BEYOND_RANGE} of +-{max_angle:g} degrees", False
    for i, (reason, fault) in sorted(rejects.items()):
        if strict and fault:
            raise DatasetError(f"{images[i]}: {reason}. Repair it, take it out of {file}, or set strict=false.")
    used = np.array([i for i in range(len(names)) if i not in rejects], np.int64)
    left_out = tuple(Reject(images[i], reason) for i, (reason, _) in sorted(rejects.items()))
    if not len(used):
        first = f" The first: {left_out[0].file} ({left_out[0].reason})." if left_out else ""
        raise DatasetError(f"{file}: none of the {len(names):,} images can be used.{first}")
    identity, identity_names = numbered(_identities(rows, names))
    return Records(
        dataset=NAME,
        names=np.array(names),
        images=np.array(images),
        pose=pose,
        face_box=face_box,
        landmarks=landmarks,
        identity=identity,
        identity_names=identity_names,
        rejects=left_out,
        weight=weight,
    ).select(used)


def split_by_person(records: Records, val_share: float = 0.05, test_share: float = 0.05) -> Splits:
    """In three parts by identity, always the same ones; see `rankpose.data.record.split_by_share`.

    A share may be 0: in a mixture whose validation and test are of another source nothing need be kept from training.
    """
    return split_by_share(records, records.identity_names, "people", val_share, test_share, may_lack=True)


def _place(root: Path, table: str | Path) -> Path:
    below = (root if root.is_dir() else root.parent) / table
    found = next((path for path in (below, Path(table)) if path.is_file()), None)
    if found is None:
        raise PHOTOGRAPHS.missing(below.parent, f"no table {table}")
    return found


def _read_table(file: Path) -> pd.DataFrame:
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        texts = {"image": str, "identity": str, "rejected": str}
        return pd.read_csv(file, dtype=texts, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DatasetError(f"{file}: cannot be read as a table ({' '.join(str(error).split())}).") from error


def _names(file: Path, rows: pd.DataFrame) -> list[str]:
    if "image" not in rows:
        raise _lacks(file, ["image"], rows)
    names = [str(name).strip().replace("\\", "/") for name in rows["image"]]
    doubled = pd.Series(names)[pd.Series(names).duplicated()]
    if len(doubled):
        raise DatasetError(f"{file}: names {doubled.iloc[0]} more than once; an image has one row.")
    if not names:
        raise DatasetError(f"{file}: has no rows.")
    return names


def _lacks(file: Path, missing: Sequence[str], rows: pd.DataFrame) -> DatasetError:
    there = ", ".join(map(str, list(rows)[:12]))
    return DatasetError(
        f"{file}: has no column {', '.join(missing)}; there are {there}{', ...' if len(rows.columns) > 12 else ''}. "
        f"data.reader.columns={{{missing[0]}: NAME}} says what it is called."
    )


def _numbers(file: Path, rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    missing = [name for name in columns if name not in rows]
    if missing:
        raise _lacks(file, missing, rows)
    for name in columns:
        numbers = pd.to_numeric(rows[name], errors="coerce")
        wrong = rows[name][numbers.isna() & rows[name].notna()]
        if len(wrong):
            raise DatasetError(f"{file}: {rows['image'][wrong.index[0]]}: {name} is no number ({wrong.iloc[0]}).")
    return np.asarray(rows[list(columns)].apply(pd.to_numeric), np.float64)


def _rejected(rows: pd.DataFrame) -> dict[int, tuple[str, bool]]:
    """By row, why the table itself leaves an image out."""
    if "rejected" not in rows:
        return {}
    told = [str(text).strip() for text in rows["rejected"]]
    return {
        i: (f"rejected by the table{'' if text.lower() in _YES else f': {text}'}", False)
        for i, text in enumerate(told)
        if text.lower() not in _NO
    }


def _labels(
    file: Path,
    rows: pd.DataFrame,
    unit: str | None,
    annotators: Sequence[str] | None,
    agree_deg: float,
    alone_beyond_deg: float,
    rejects: dict[int, tuple[str, bool]],
) -> np.ndarray:
    """(N, 3) float32 degrees; adds those whose annotators disagree to `rejects`."""
    sets = [[f"{name}_{angle}" for angle in ANGLES] for name in annotators] if annotators else [list(ANGLES)]
    poses = np.stack([_numbers(file, rows, columns) for columns in sets])
    if unit == "radians":
        poses = np.degrees(poses)
    elif unit is None and np.isfinite(poses).any() and np.nanmax(np.abs(poses)) < _RADIANS and np.any(poses):
        raise DatasetError(
            f"{file}: all angles are below {_RADIANS}, as if they were in radians. Set data.reader.unit=radians, or "
            "data.reader.unit=degrees where they are so small."
        )
    if len(poses) == 1:
        return np.asarray(poses[0], np.float32)
    rotations = euler_to_rotmat(torch.from_numpy(poses))
    mean = rotmat_to_euler(mean_rotation(torch.nan_to_num(rotations))).numpy()
    alone = np.abs(poses[0, :, 0]) > alone_beyond_deg
    apart = spread(rotations).numpy() > agree_deg
    for i in np.flatnonzero(apart & ~alone):
        rejects.setdefault(int(i), (f"with annotators more than {agree_deg:g} degrees apart", False))
    labels = np.where(alone[:, None], poses[0], mean)
    labels[~alone & ~np.isfinite(poses).all(axis=(0, 2))] = np.nan
    return labels.astype(np.float32)


def _reason(pose: np.ndarray, weight: float | None, box: np.ndarray | None) -> str | None:
    """Why a row cannot be used; None where it can."""
    if not np.isfinite(pose).all():
        return "without a pose"
    if weight is not None and not np.isfinite(weight):
        return "without a weight"
    if weight == 0:
        return "with weight 0"
    if box is not None and not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
        return "with an empty face box"
    return None


def _identities(rows: pd.DataFrame, names: Sequence[str]) -> pa.Array:
    folders = [name.rpartition("/")[0] or name for name in names]
    if "identity" not in rows:
        return pa.array(folders, pa.string())
    told = rows["identity"]
    return pa.array([own if pd.isna(one) else str(one) for one, own in zip(told, names, strict=True)], pa.string())
