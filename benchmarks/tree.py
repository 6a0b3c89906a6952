"""A folder as large as 300W-LP, for measuring: its identities and images by name and number, filled with renders.

A few hundred renders, enlarged to 450x450 pixels, are hard-linked as images; each image has an annotation of its own,
that of its render. It is no data set to train on.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.io import loadmat, savemat
from tqdm import tqdm

from rankpose.data.crop import read_image
from rankpose.data.synthetic.write import write_synthetic

SUBSETS = {"AFW": 337, "HELEN": 2331, "IBUG": 146, "LFPW": 1035}
"""Identities; each subset has a mirrored twin, of which HELEN's lacks one."""
IDENTITIES, IMAGES = 7_697, 122_450
SIDE = 450
PEOPLE = 20
NAMES = "300w_lp/identities.txt"
_AS_LARGE = [cv2.IMWRITE_JPEG_QUALITY, 88]
"""Gives files of 300W-LP's usual 25 to 30 kB: the time to decode one goes with its size."""


def identities(real_data: Path | None) -> list[str]:
    """300W-LP's identities, `<subset>/<stem>`: from the list among the real samples, else made up."""
    if real_data is not None and (real_data / NAMES).is_file():
        lines = (real_data / NAMES).read_text(encoding="utf-8").splitlines()
        names = ["/".join(line.split("/")[-2:]) for line in lines]
        # the list names 23 of them twice, one by one: every identity gets a name of its own
        return [name if name not in names[:k] else f"{name}-twin" for k, name in enumerate(names)]
    twins = {f"{subset}_Flip": count - (subset == "HELEN") for subset, count in SUBSETS.items()}
    return [f"{subset}/{subset}_{k:06d}" for subset, count in (SUBSETS | twins).items() for k in range(count)]


def make_tree(root: Path, names: Sequence[str], images: int) -> None:
    """Fills `root`, which must not exist, with `images` images spread evenly over the identities `names`."""
    root.mkdir(parents=True)
    renders = root / "Code"  # 300W-LP's folder of that name holds no samples, and no reader looks into it
    renders.mkdir()
    annotations = _draw(renders)
    for subset in {name.partition("/")[0] for name in names}:
        (root / subset).mkdir()
    views = [
        f"{name}_{view}"
        for k, name in enumerate(names)
        for view in range(images * (k + 1) // len(names) - images * k // len(names))
    ]
    for number, name in enumerate(tqdm(views, unit="image", desc=root.name)):
        render = number % len(annotations)
        os.link(renders / f"{render}.jpg", root / f"{name}.jpg")
        (root / f"{name}.mat").write_bytes(annotations[render])


def _draw(folder: Path) -> list[bytes]:
    """Draws the images into `folder`; returns their annotations."""
    annotations = []
    with tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary) / "set"
        write_synthetic(small, {"train": PEOPLE}, progress=False)
        for number, source in enumerate(sorted(small.glob("SYN_TRAIN/*.jpg"))):
            image = read_image(str(source))[..., ::-1]
            scale = SIDE / image.shape[0]
            large = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            # a photograph's JPEG is larger than that of a smooth enlargement: give it grain
            grain = np.random.default_rng(number).normal(0, 2, large.shape)
            cv2.imwrite(str(folder / f"{number}.jpg"), np.clip(large + grain, 0, 255).astype(np.uint8), _AS_LARGE)
            fields = {key: value for key, value in loadmat(source.with_suffix(".mat")).items() if key[0] != "_"}
            fields["pt2d"] = scale * (fields["pt2d"] + 0.5) - 0.5
            savemat(folder / "annotation.mat", fields, do_compression=True)
            annotations.append((folder / "annotation.mat").read_bytes())
    return annotations
