"""What do predictions look like? A sheet of test images with true and predicted axes.

`python -m rankpose.report.sheet RUN OUT.jpg [--rows 3] [--columns 8]`
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from rankpose.errors import DatasetError, one_line_errors
from rankpose.pose import ANGLES
from rankpose.report.heads import crop_from_file, gallery_tile


def prediction_sheet(predictions: pd.DataFrame, rows: int, columns: int, side: int = 144) -> np.ndarray:
    """RGB uint8 sheet of `rows` x `columns` tiles, from the best prediction to the worst in equal steps of rank.

    Args:
        predictions: as in a run's `predictions.parquet`.
        rows, columns: of tiles.
        side: of a tile, pixels.

    Raises:
        DatasetError: an image file has gone.
    """
    ordered = predictions.sort_values("geodesic", kind="stable")
    places = np.linspace(0, len(ordered) - 1, rows * columns).round().astype(int)
    tiles = []
    for row in ordered.iloc[places].to_dict("records"):
        crop = crop_from_file(row["image"], row["crop_x"], row["crop_y"], row["crop_side"], side)
        if crop is None:
            raise DatasetError(f"{row['image']}: the image of a prediction has gone; test again.")
        tiles.append(gallery_tile(crop, [row[name] for name in ANGLES], [row[f"{name}_pred"] for name in ANGLES]))
    return np.vstack([np.hstack(tiles[r * columns : (r + 1) * columns]) for r in range(rows)])


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's or an evaluation's folder")
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=8)
    wanted = parser.parse_args()
    table = wanted.run / "predictions.parquet"
    if not table.is_file():
        raise DatasetError(f"{table}: no such file; a finished run or an evaluation has one.")
    Image.fromarray(prediction_sheet(pd.read_parquet(table), wanted.rows, wanted.columns)).save(wanted.out, quality=90)


if __name__ == "__main__":
    main()
