"""What do the synthetic heads look like, and how like photographs are they? Makes a sheet of pictures.

    python -m rankpose.data.synthetic.sheet OUT.jpg [--seed 0] [--identities 6] [--poses 8]
    python -m rankpose.data.synthetic.sheet OUT.jpg --beside AFLW2000_FOLDER

The second form puts each photograph beside a head drawn at the photograph's pose.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from rankpose.data.crop import View, crop_matrix, face_points, read_image, warp_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.data.synthetic import poses, scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.errors import one_line_errors


def crop_face(image: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3): the crop that a network is tested on."""
    return warp_image(image, crop_matrix(landmarks.astype(np.float64), side, View()), side)


def draw_tile(rng: np.random.Generator, number: int, pose: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) RGB: person `number` at `pose`, as JPEG leaves it."""
    mesh = build_mesh(make_identity(number), draw_expression(rng))
    drawn = scene.draw_scene(rng)
    picture, landmarks = scene.render(mesh, pose, drawn)
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, drawn.jpeg_quality])
    return crop_face(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)), landmarks, side)


def people_sheet(seed: int, identities: int, columns: int, side: int = 144) -> np.ndarray:
    """RGB sheet, one person a row, from one profile to the other, in all kinds of light."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(identities):
        drawn = poses.draw_poses(rng, columns)
        turns = np.linspace(-80, 80, columns) + rng.normal(0, 6, columns)
        natural = poses.rotation_to_natural(poses.label_to_rotation(drawn))
        labels = poses.rotation_to_label(poses.natural_to_rotation(turns, natural[:, 1], natural[:, 2]))
        rows.append([draw_tile(rng, seed * 1000 + number, label, side) for label in labels])
    return tile(rows)


def beside_sheet(folder: Path, seed: int, pairs: int = 48, pairs_a_row: int = 6, side: int = 144) -> np.ndarray:
    """RGB sheet of AFLW2000-3D photographs, each with a drawn head at its pose to the right."""
    records = read_aflw2000(folder, max_angle=poses.MAX_ANGLE_DEG)
    rng = np.random.default_rng(seed)
    tiles = []
    for number, row in enumerate(rng.permutation(len(records))[:pairs]):
        record = records[int(row)]
        photograph = crop_face(read_image(record.image), face_points(record), side)
        tiles.append(np.hstack([photograph, draw_tile(rng, seed * 1000 + number, record.pose, side)]))
    return tile([tiles[i : i + pairs_a_row] for i in range(0, len(tiles) // pairs_a_row * pairs_a_row, pairs_a_row)])


def tile(rows: list[list[np.ndarray]], gap: int = 4) -> np.ndarray:
    """One white sheet of equal tiles with a narrow gap."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full((len(rows) * (height + gap) + gap, len(rows[0]) * (width + gap) + gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = gap + r * (height + gap), gap + c * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write, .jpg or .png")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people")
    parser.add_argument("--identities", type=int, default=6, help="rows")
    parser.add_argument("--poses", type=int, default=8, help="columns")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="AFLW2000-3D: photographs with heads at their pose")
    wanted = parser.parse_args()
    if wanted.beside:
        sheet = beside_sheet(wanted.beside, wanted.seed)
    else:
        sheet = people_sheet(wanted.seed, wanted.identities, wanted.poses)
    encoded = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    quality = [] if wanted.out.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    if not cv2.imwrite(str(wanted.out), encoded, quality):
        raise SystemExit(f"cannot write {wanted.out}")


if __name__ == "__main__":
    main()
