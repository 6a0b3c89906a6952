"""Where is the face, in a data set that has no boxes? What a source of boxes is, and boxes that others have listed.

A reader asks one `BoxSource` for the face box of each frame. Crops expect the box around 68 landmarks (brows to chin,
ear to ear), so a source whose boxes are cut wider than that shrinks them.

Formats of a box file
    * `.npz` with `images` (N,) unicode, such as `01/frame_00003_rgb.png`, and an array (N, 4) of x, y, width and height
      in pixels, `bbox` unless said otherwise. So are `Biwi_plus.npz` and `Biwi_FSA-Net.npz` of the HeadPose+ project.
    * `.csv` with the columns `image,x,y,w,h`, the same numbers.
"""

import zipfile
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from rankpose.errors import DatasetError, DatasetNotFoundError

_COLUMNS = ["x", "y", "w", "h"]


class Frame(Protocol):
    """What a source of boxes may ask about a frame."""

    @property
    def name(self) -> str:
        """Its path within the data set, with forward slashes."""

    @property
    def image(self) -> str:
        """Path of the image file, which has been found whole."""

    @property
    def head_box(self) -> np.ndarray:
        """(4,) left, top, right, bottom, pixels: a box of fixed metric size around the head's known place.

        Raises `BadFile` where that place is not known.
        """


class BoxSource:
    """The interface: a frame to the face box in it."""

    def leaves_out(self, name: str) -> str | None:
        """Why the frame of this name has no part in a test set made with this source; None where it has."""
        return None

    def box(self, frame: Frame) -> np.ndarray:
        """(4,) left, top, right, bottom, pixels; raises `BadFile` where there is none to be had."""
        raise NotImplementedError


class FileBoxes(BoxSource):
    """Boxes from a file; frames that it does not list are left out, which is what makes FSA-Net's 13,219 of BIWI.

    Args:
        path: a `.npz` or `.csv`, see the module.
        array: the array of an `.npz` that holds the boxes.
        scale: factor on both sides, about the middle, that makes the file's boxes ones around 68 landmarks.

    Raises:
        DatasetNotFoundError, DatasetError: on first use, where the file is missing or not one of boxes.
    """

    def __init__(self, path: str | Path, array: str = "bbox", scale: float = 1.0) -> None:
        self.path, self.array, self.scale = Path(path), array, scale

    def leaves_out(self, name: str) -> str | None:
        return None if name in self._boxes else f"without a box in {self.path.name}"

    def box(self, frame: Frame) -> np.ndarray:
        return scale_box(self._boxes[frame.name], self.scale)

    @cached_property
    def _boxes(self) -> dict[str, np.ndarray]:
        """Name of each frame to left, top, right, bottom."""
        if not self.path.is_file():
            raise DatasetNotFoundError(
                f"{self.path}: no such box file. Those of BIWI are in the HeadPose+ project's data folder; "
                "a CSV with the columns image,x,y,w,h does as well, or a protocol that needs none, such as biwi."
            )
        readers = {".npz": self._read_npz, ".csv": self._read_csv}
        if self.path.suffix not in readers:
            raise DatasetError(f"{self.path}: a box file is .npz (images, {self.array}) or .csv (image,x,y,w,h).")
        names, corners = readers[self.path.suffix]()
        if names.ndim != 1 or corners.shape != (len(names), 4):
            raise DatasetError(f"{self.path}: {len(names)} images, but boxes of shape {corners.shape}, not (N, 4).")
        boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
        listed = dict(zip(names.tolist(), boxes, strict=True))
        if len(listed) < len(names):
            unique, counts = np.unique(names, return_counts=True)
            raise DatasetError(f"{self.path}: lists {unique[counts > 1][0]} more than once.")
        return listed

    def _read_npz(self) -> tuple[np.ndarray, np.ndarray]:
        """Names and (N, 4) x, y, width, height."""
        try:
            with np.load(self.path) as file:
                return file["images"].astype(str), file[self.array].astype(np.float64)
        except KeyError:
            raise DatasetError(f"{self.path}: lacks the array images or {self.array} of a box file.") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise DatasetError(f"{self.path}: cannot be read as an .npz of numbers and names.") from None

    def _read_csv(self) -> tuple[np.ndarray, np.ndarray]:
        """Names and (N, 4) x, y, width, height."""
        try:
            table = pd.read_csv(self.path, dtype={"image": str, **dict.fromkeys(_COLUMNS, np.float64)})
            return table["image"].to_numpy(str), table[_COLUMNS].to_numpy()
        except KeyError:
            raise DatasetError(f"{self.path}: lacks a column of image,x,y,w,h.") from None
        except (OSError, ValueError):
            raise DatasetError(f"{self.path}: cannot be read as a CSV of image,x,y,w,h with numbers.") from None


def scale_box(box: np.ndarray, scale: float) -> np.ndarray:
    """Boxes with both sides times `scale` about their middle: (..., 4) left, top, right, bottom to the same."""
    middle, half = (box[..., :2] + box[..., 2:]) / 2, (box[..., 2:] - box[..., :2]) / 2 * scale
    return np.concatenate([middle - half, middle + half], axis=-1)
