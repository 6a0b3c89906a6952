"""What do the corruptions look like? A sheet: a row a kind, from the clean crop to strength 5.

`python -m rankpose.data.corruption_sheet OUT.png --images AFLW2000_FOLDER [--photographs 3] [--seed 0]`
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from rankpose.data.corruption import KINDS, STRENGTHS, Corruption, image_rng
from rankpose.data.crop import View, crop_matrix, face_points, read_image, warp_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.record import Record
from rankpose.data.synthetic.sheet import tile
from rankpose.errors import one_line_errors


def corrupted_crop(record: Record, corruption: Corruption, rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side, 3) uint8 RGB: what a network sees of a corrupted photograph."""
    points = corruption.points(face_points(record), rng)
    image = corruption.image(read_image(record.image), record.face_box, rng)
    return warp_image(image, crop_matrix(points, side, View()), side)


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write, .jpg or .png")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="AFLW2000-3D")
    parser.add_argument("--photographs", type=int, default=1, help="beside each other")
    parser.add_argument("--seed", type=int, default=0, help="other photographs, other draws")
    parser.add_argument("--side", type=int, default=112, help="of a crop, pixels")
    wanted = parser.parse_args()
    records = read_aflw2000(wanted.images)
    rows = np.random.default_rng(wanted.seed).permutation(len(records))[: wanted.photographs]
    sheet = [
        [
            corrupted_crop(records[int(row)], Corruption(kind, strength), image_rng(wanted.seed, int(row)), wanted.side)
            for row in rows
            for strength in (0, *STRENGTHS)
        ]
        for kind in KINDS
    ]
    Image.fromarray(tile(sheet)).save(wanted.out, quality=90)
    print(*KINDS, sep="\n")


if __name__ == "__main__":
    main()
