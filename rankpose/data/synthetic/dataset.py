"""The embedded set as a data set: made where it is missing, then read as 300W-LP is."""

from dataclasses import replace
from pathlib import Path

from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.data.record import Records
from rankpose.data.synthetic.write import ensure_synthetic
from rankpose.errors import ConfigError

NAME = "rendered heads"


def read_synthetic(
    root: str | Path,
    train_identities: int,
    val_identities: int,
    test_identities: int,
    images_per_identity: int = 16,
    seed: int = 0,
    max_angle: float | None = 99.0,
    strict: bool = False,
) -> Records:
    """The embedded set: folders `SYN_TRAIN`, `SYN_VAL` and `SYN_TEST`; nobody is in two.

    Args:
        root: where the set is, or will be made.
        train_identities, val_identities, test_identities: people in each folder.
        images_per_identity: of each.
        seed: decides every picture.
        max_angle, strict: as for `read_300w_lp`.

    Raises:
        RankPoseError: the folder holds a set with other settings, the disk is full, or a file cannot be used.
    """
    if min(train_identities, val_identities, test_identities, images_per_identity) < 1 or seed < 0:
        raise ConfigError(
            f"data.reader: {train_identities}, {val_identities} and {test_identities} identities with "
            f"{images_per_identity} images, seed {seed}: numbers must be at least 1, the seed at least 0."
        )
    parts = {"train": train_identities, "val": val_identities, "test": test_identities}
    ensure_synthetic(Path(root), parts, images_per_identity=images_per_identity, seed=seed)
    return replace(read_300w_lp(root, max_angle=max_angle, strict=strict), dataset=NAME)
