"""What a figure is a figure of: a named test set with its filter, crop and size."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rankpose.data.corruption import STRENGTHS, Corruption
from rankpose.data.crop_rules import CropRule
from rankpose.data.record import Records
from rankpose.data.store import read_packed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Protocol:
    """A test set under a name.

    Args:
        name: short, as in tables and folder names.
        title: what it is, in one line.
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
        else:
            records = read_packed(self.packed, self.reader, self.max_angle)
        log.info("%s: %s", self.name, records.summary())
        for note in self.remarks(records):
            log.warning("%s", note)
        return records

    def remarks(self, records: Records) -> list[str]:
        """What a reader of the figures must know about this copy of the set."""
        if self.expected is None or len(records) == self.expected:
            return []
        return [
            f"protocol {self.name} holds {self.expected:,} images, {self.packed or self.root} gave {len(records):,}: "
            "these figures do not compare with published ones."
        ]
