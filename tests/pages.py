"""What tests of pages share: predictions to draw, and a reader of what was drawn."""

from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from rankpose.report import tables

COUNT = 30


def make_predictions(folder: Path, count: int = COUNT, images_a_person: int | None = 3) -> pd.DataFrame:
    """A table of made-up predictions and as many small photographs in `folder`."""
    random = np.random.default_rng(0)
    true = random.uniform((-85, -40, -30), (85, 40, 30), size=(count, 3))
    predicted = true + random.normal(0, 4, size=(count, 3))
    rows = []
    for number in range(count):
        path = folder / f"image{number:05d}.jpg"
        cv2.imwrite(str(path), random.integers(0, 255, size=(60, 80, 3), dtype=np.uint8))
        person = None if images_a_person is None else f"person {number // images_a_person}"
        rows.append(
            {"name": path.name, "image": str(path), "identity": person}
            | dict(zip(tables.ANGLES, true[number], strict=True))
            | {f"{angle}_pred": value for angle, value in zip(tables.ANGLES, predicted[number], strict=True)}
            | {"geodesic": float(np.linalg.norm(predicted[number] - true[number]))}
            | {"crop_x": -10.0, "crop_y": -5.5, "crop_side": 70.0}
        )
    return pd.DataFrame(rows)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and a check that every opened one is closed."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"
