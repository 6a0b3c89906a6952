"""What a figure is a figure of: a named test set with its filter, crop and size."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from rankpose.data.corruption import STRENGTHS, Corruption, image_rng
from rankpose.data.crop import face_points, points_around
from rankpose.data.crop_rules import CropRule, extent_of
from rankpose.data.packed.reading import check_reach, read_packed
from rankpose.data.record import Records
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.statistics import score_intervals
from rankpose.faces import FaceDetector
from rankpose.faces.found import found_by
from rankpose.pose import ANGLES, euler_to_rotmat, rotmat_to_euler

log = logging.getLogger(__name__)

HELD_OUT = "held_out"
"""The protocol of the test that ends every training."""
HELD_OUT_TITLE = "People of the data set who were not seen in training"
OWN_MODEL = "RankPose"
"""What the trained network is called there, the same for all runs."""


class Cameras(Interface):
    """What knows which cameras pictures are of."""

    def turns(self, records: Records, middles: np.ndarray) -> np.ndarray:
        """(N, 2) pixels of the crops' middles to (N, 3, 3): from what crops show to the frame of the labels."""
        ...


@dataclass(frozen=True)
class Protocol:
    """A test set under a name.

    Args:
        name: short, as in tables and folder names.
        title: which set it is, in one line; what other arguments say (`max_angle`, `crop`) is added to it.
        reader: called with `root`, `max_angle` and `strict`, gives `Records`.
        root: where the data lie.
        max_angle: images with an angle beyond +- this many degrees are left out; None keeps all.
        strict: stop at the first unusable file.
        labels: in which frame and convention the labels are, in words.
        crop: what every model sees of an image; None leaves each model its own rule, the one it was trained with.
        corruption: a kind of `rankpose.data.corruption`, tested at its five strengths beside the clean images.
        seed: of the corruption's draws.
        packed: take the images from this file, which `rankpose.prepare` made of them, instead of from `root`.
        expected: how many images the whole set has after the filter; None where that is not fixed.
        boxes: a detector whose boxes are taken instead of the set's; images in which it misses the head are left out.
        cameras: the cameras that the pictures are of, where their intrinsics are known, as
            `rankpose.data.readers.biwi.ColourCameras`.
        perspective: test every model twice, as it is and with its poses taken from the crop's to the camera's frame.
        second_labels: a table of other labels of these images (as `rankpose.predictors.TablePredictor` reads them): how
            far both are apart is said as what no difference of models below means anything.
        changes: `KEY=VALUE` of what is otherwise than in the choice that the protocol was made from.
    """

    name: str
    title: str
    reader: Callable[..., Records]
    root: str
    max_angle: float | None = 99.0
    strict: bool = False
    expected: int | None = None
    packed: str | None = None
    labels: str = ""
    crop: CropRule | None = None
    corruption: str | None = None
    seed: int = 0
    boxes: FaceDetector | None = None
    cameras: Cameras | None = None
    perspective: bool = False
    second_labels: str | None = None
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.perspective:
            return
        if self.cameras is None:
            raise ConfigError(
                f"protocol.perspective=true: {self.name} does not know the cameras of its pictures; the protocols of "
                "BIWI do."
            )
        if self.packed is not None:
            raise ConfigError(
                "protocol.perspective=true: where packed images were cut from is not known; set protocol.packed=null."
            )

    @property
    def described(self) -> str:
        """The protocol as it is run, in one line."""
        within = (
            f"within {self.max_angle:g} degrees" if self.max_angle is not None else "(read the geodesic error only)"
        )
        parts = [self.title, f"all angles {within}"]
        if self.crop is not None:
            parts.append(f"every model through {self.crop}")
        reader = [change for change in self.changes if change.startswith("reader.")]
        return ", ".join([*parts, *([f"but with {', '.join(reader)}"] if reader else [])])

    def corruptions(self) -> list[Corruption | None]:
        """What the images are tested under, clean (None) first.

        Raises:
            ConfigError: no such kind; the message lists them.
        """
        if self.corruption is None:
            return [None]
        return [None, *(Corruption(self.corruption, strength) for strength in STRENGTHS)]

    def records(self) -> Records:
        """Reads the set; says aloud what was left out, and where it is not the whole set."""
        if self.packed is None:
            records = self.reader(root=self.root, max_angle=self.max_angle, strict=self.strict)
        elif self.boxes is None:
            records = read_packed(self.packed, self.reader, self.max_angle)
        else:
            raise ConfigError(
                "protocol.boxes: finds faces in whole images, not in packed ones; set protocol.packed=null."
            )
        if self.boxes is not None:
            records = found_by(self.boxes, records)
        log.info("%s: %s", self.name, records.summary())
        for note in self.remarks(records):
            log.warning("%s", note)
        return records

    def in_camera(
        self, prediction: Tensor, records: Records, crop: CropRule, rows: Tensor, corruption: Corruption | None = None
    ) -> Tensor:
        """Poses as crops show them, taken to the frame of the labels (`rankpose.data.perspective`).

        Args:
            prediction: (M, 3) degrees; NaN stays NaN.
            records: the protocol's.
            crop: what the model sees of an image; of one that finds its crop itself, what it looks at first.
            rows: (M,) of which records the predictions are.
            corruption: under which they were made: it may move the crop.
        """
        assert self.cameras is not None
        middles = []
        for row in rows.tolist():
            points = face_points(records[row])
            points = points if corruption is None else corruption.points(points, image_rng(self.seed, row))
            left, top, right, bottom = crop.rectangle(points)
            middles.append([(left + right) / 2, (top + bottom) / 2])
        turns = torch.from_numpy(self.cameras.turns(records.select(rows.numpy()), np.array(middles)))
        seen = torch.isfinite(prediction).all(dim=1)
        found = torch.full_like(prediction, torch.nan)
        rotations = turns[seen] @ euler_to_rotmat(prediction[seen].double())
        found[seen] = rotmat_to_euler(rotations).to(prediction.dtype)
        return found

    def check_reach(self, records: Records, crop: CropRule) -> None:
        """Holds what a model is to see, under every corruption, against what was packed.

        Args:
            records: as `records` gives them.
            crop: the model's own rule.

        Raises:
            ConfigError: crops reach beyond the packed file's.
        """
        if self.packed is None:
            return
        rule, corruptions, extent = self.crop or crop, self.corruptions(), 0.0
        for row in range(len(records)):
            face = points_around(records.face_box[row], None if records.landmarks is None else records.landmarks[row])
            for corruption in corruptions:
                points = face if corruption is None else corruption.points(face, image_rng(self.seed, row))
                extent = max(extent, extent_of(rule, points, face))
        check_reach("protocol.packed", self.packed, extent, 0.0, "test on the folder (protocol.packed=null)")

    def remarks(self, records: Records) -> list[str]:
        """What a reader of the figures must know about this protocol and this copy of the set."""
        found = []
        if self.changes:
            found.append(
                f"protocol {self.name} was run with {', '.join(self.changes)}: these figures do not compare with "
                "published ones."
            )
        if self.expected is not None and len(records) != self.expected:
            found.append(
                f"protocol {self.name} holds {self.expected:,} images, {self.packed or self.root} gave "
                f"{len(records):,}: these figures do not compare with published ones."
            )
        if self.packed is not None:
            found.append(
                f"protocol {self.name} takes its images from {self.packed}, resized and compressed again: figures "
                "differ a little from those of the folder."
            )
        if self.second_labels is not None:
            found.append(self._disagreement(records, self.second_labels))
        return found

    def _disagreement(self, records: Records, table: str) -> str:
        """How far the labels are from those of a table, in words."""
        from rankpose.predictors.table import TablePredictor  # which brings networks: a page is made without

        second = TablePredictor(table, "protocol.second_labels").predict(records)
        both = torch.isfinite(second).all(dim=1)
        if both.sum() < 2:
            raise DatasetError(f"protocol.second_labels={table}: does not label two images of {records.dataset}.")
        target, identity = torch.from_numpy(records.pose)[both], torch.from_numpy(records.identity)[both]
        found = score_intervals(second[both], target, identity)
        named = {"mae": "MAE", **{f"{angle}_mae": angle for angle in ANGLES}, "geodesic": "geodesic"}
        figures = ", ".join(
            f"{name} {found[key].value:.2f}°"
            + ("" if np.isnan(found[key].low) else f" ({found[key].low:.2f} to {found[key].high:.2f})")
            for key, name in named.items()
        )
        return (
            f"the labels of {int(both.sum()):,} of {len(records):,} images differ from those of {Path(table).name}: "
            f"{figures}. Below this floor a model's error, or a difference of models, says nothing about the heads."
        )
