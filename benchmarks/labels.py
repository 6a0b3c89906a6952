"""How good are labels that models gave? Against true poses, by how sure and how far apart the models were.

python -m benchmarks.labels crops AFLW2000 FOLDER
    Cuts the faces of AFLW2000-3D's photographs within 99 degrees out as small crops, --size pixels a side, --room times
    the landmarks' box; then `python -m rankpose.label data.root=FOLDER teacher=NAME` labels them as pictures of nobody
    known.
python -m benchmarks.labels errors LABELS TRUTH
    LABELS is what `rankpose.label` wrote, TRUTH AFLW2000-3D's folder or a table (image, yaw, pitch, roll). Of all faces
    that were answered, of those that have a label, of those that are sure or agreed on, and by the true yaw:
    how many, and the mean error of yaw, pitch and roll, degrees. Prints a table and, last, JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from rankpose.data.crop import plain_square, points_around, read_image, square_matrix, warp_image
from rankpose.data.readers.aflw2000 import read_aflw2000
from rankpose.errors import DatasetError, one_line_errors
from rankpose.metrics import angle_error
from rankpose.pose import ANGLES


def crops(root: Path, out: Path, size: int, room: float, most: int | None = None) -> int:
    """Writes a crop of each photograph, of the first so many; gives how many."""
    records = read_aflw2000(root)
    records = records.select(np.arange(len(records))[:most])
    out.mkdir(parents=True, exist_ok=True)
    for row in range(len(records)):
        record = records[row]
        square = plain_square(points_around(record.face_box, record.landmarks), room)
        crop = warp_image(read_image(record.image), square_matrix(*square, size), size)
        cv2.imwrite(str(out / Path(record.name).with_suffix(".png").name), crop[..., ::-1])
    return len(records)


def true_poses(place: Path) -> pd.DataFrame:
    """(N, 3) degrees by the stem of the picture's name."""
    if place.is_dir():
        records = read_aflw2000(place)
        table = pd.DataFrame(np.asarray(records.pose), columns=list(ANGLES)).assign(image=np.asarray(records.names))
    else:
        table = pd.read_csv(place) if place.suffix == ".csv" else pd.read_parquet(place)
    missing = [name for name in ("image", *ANGLES) if name not in table]
    if missing:
        raise DatasetError(f"{place}: has no column {', '.join(missing)}.")
    return table.assign(image=[Path(str(name)).stem for name in table["image"]]).set_index("image")[list(ANGLES)]


def errors(labels: pd.DataFrame, truth: pd.DataFrame, min_presence: float = 0.5) -> pd.DataFrame:
    """A row a choice of faces: how many, the mean error of each angle and of all.

    Args:
        labels: as `rankpose.label` writes them.
        truth: as of `true_poses`.
        min_presence: of the surer faces.
    """
    labels = labels.assign(image=[Path(str(name)).stem for name in labels["image"]]).set_index("image")
    both = labels.join(truth.add_prefix("true_"), how="inner").dropna(subset=list(ANGLES))
    if both.empty:
        raise DatasetError("no picture has a label and a true pose: the names of both tables have nothing in common.")
    pose, true = (torch.tensor(both[[f"{of}{one}" for one in ANGLES]].to_numpy(np.float64)) for of in ("", "true_"))
    error = pd.DataFrame(angle_error(pose, true).numpy(), both.index, columns=list(ANGLES))
    error["mean"] = error.mean(axis=1)
    yaw = both["true_yaw"].abs()
    kept = both["rejected"].isna() | (both["rejected"] == "")
    chosen = {
        "answered": yaw >= 0,
        "with a label": kept,
        f"presence >= {min_presence:g}": both["presence"] >= min_presence,
        **{f"answers within {limit} degrees": both["spread"] <= limit for limit in (20, 10, 5)},
        **{f"|yaw| {low}-{low + 30}": (yaw >= low) & (yaw < low + 30) for low in (0, 30)},
        "|yaw| 60-99": yaw >= 60,
    }
    rows = [{"faces": what, "count": int(which.sum()), **error[which].mean()} for what, which in chosen.items()]
    return pd.DataFrame(rows)


@one_line_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Cut, or compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    cutting = parts.add_parser("crops")
    cutting.add_argument("root", type=Path)
    cutting.add_argument("out", type=Path)
    cutting.add_argument("--size", type=int, default=120)
    cutting.add_argument("--room", type=float, default=1.5)
    cutting.add_argument("--most", type=int, default=None, help="so many photographs")
    comparing = parts.add_parser("errors")
    comparing.add_argument("labels", type=Path)
    comparing.add_argument("truth", type=Path)
    comparing.add_argument("--min-presence", type=float, default=0.5)
    options = parser.parse_args(arguments)
    if options.part == "crops":
        written = crops(options.root, options.out, options.size, options.room, options.most)
        print(f"{options.out}: {written} crops")
        return
    read = pd.read_csv if options.labels.suffix == ".csv" else pd.read_parquet
    table = errors(read(options.labels), true_poses(options.truth), options.min_presence)
    print(table.to_string(index=False, float_format=lambda number: f"{number:.2f}"))
    print(table.round(3).to_json(orient="records"))


if __name__ == "__main__":
    main()
