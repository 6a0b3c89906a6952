"""What do the poses, the errors and the training look like?

Two kinds of pictures. On photographs: a head's three axes (`draw_axes`) and the square that the network saw
(`crop_from_file`, `gallery_tile`), as RGB arrays. Of figures: small panels drawn with matplotlib and given as SVG text.
A panel is as wide as a phone, so a page can put three beside each other or one below the other without shrinking the
letters. Its colours are CSS variables with a fallback, so the panel follows the light or dark scheme of the page it
stands in, and still shows in a notebook.

matplotlib is used through its `Figure` class alone: pyplot keeps figures in a global list.
"""

import base64
import html
import io
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from rankpose.data.crop import read_image
from rankpose.errors import DatasetError
from rankpose.pose import ANGLES, euler_to_rotmat
from rankpose.report.tables import MINUS, error_by_bin

Image = NDArray[np.uint8]
"""(H, W, 3), RGB."""

AXIS_RGB = ((226, 54, 54), (46, 174, 82), (48, 118, 244))
"""Colours of the x, y and z axis."""

_POINT = 1 / 72  # inches; the page shows a point as about one CSS pixel
_PANEL = (340, 236)  # width, height of a panel in points
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 24, 36  # the same margins in every panel, so that axes align side by side
COLOURS = {  # each once: a panel's colours become CSS variables of these names
    "ink": "#1d2126",
    "muted": "#69707a",
    "grid": "#e0e3e8",
    "mean": "#3a4049",
    "yaw": "#3566b0",
    "pitch": "#c8731a",
    "roll": "#1f8a78",
    "model-1": "#2466c9",
    "model-2": "#d9591f",
    "model-3": "#0f917d",
    "model-4": "#9a3f9e",
    "model-5": "#8a7415",
    "model-6": "#c02f50",
}
MODEL_COLOURS = 6
"""How many models have a colour of their own; a seventh gets the first one's, dashed."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MARKS = "os^Dv"
_LOSS_TITLES = {
    "train/loss": "Training loss",
    "train/mse": "Squared error term",
    "train/rank": "Ranking term",
    "train/mae": "Mean absolute error in training",
    "train/gradient_ratio": "Gradient norm, ranking / squared error",
}
FURTHEST_DEG = 100.0  # degrees; beyond, Euler angles are ambiguous, and a few such images would shrink all the others
FEW = 5  # a mean of fewer images than this is drawn pale


# --------------------------------------------------------------------------------------------------- photographs
def draw_axes(
    image: Image,
    pose_deg: ArrayLike,
    centre: tuple[float, float] | None = None,
    length: float | None = None,
    thickness: float = 3.0,
    dashed: bool = False,
) -> Image:
    """Draw a head's three axes on a copy of an image.

    They are the columns of the head's rotation in the frame x right, y up, z towards the camera, projected along the
    camera's axis (no perspective). At zero pose: **x, red**, points to the right of the image (the person's own left
    ear); **y, green**, points **up** to the crown of the head; **z, blue**, comes out of the face at the camera and is
    a dot. A positive yaw moves the tip of z to the left of the image, a positive pitch moves it up.

    Args:
        image: (H, W, 3) uint8, RGB. Left as it is.
        pose_deg: (3,) yaw, pitch, roll in degrees.
        centre: x, y in pixels where the axes meet; the middle of the image by default.
        length: length in pixels of an axis that lies in the image plane; 0.36 of the shorter side by default.
        thickness: of a line, pixels.
        dashed: thin pale dashes, for the true pose beside a predicted one.

    Returns:
        (H, W, 3) uint8, RGB. A pose that is not finite draws nothing.
    """
    canvas = np.ascontiguousarray(image).copy()
    pose = np.asarray(pose_deg, dtype=np.float64)
    if pose.shape != (3,):
        raise ValueError(f"a pose is (yaw, pitch, roll), got the shape {pose.shape}")
    if not np.isfinite(pose).all():
        return canvas
    height, width = canvas.shape[:2]
    middle = np.array(centre if centre is not None else ((width - 1) / 2, (height - 1) / 2))
    length = 0.36 * min(height, width) if length is None else length
    rotation = euler_to_rotmat(torch.from_numpy(pose)).numpy()  # columns: the head's axes seen by the camera
    tips = middle + length * rotation[:2].T * (1.0, -1.0)  # (3, 2) pixels; rows of an image grow downwards
    # the axis that points farthest away from the camera comes first, to be covered by the nearer ones
    for axis in np.argsort(rotation[2]):
        colour = AXIS_RGB[axis]
        if dashed:
            pale = tuple(int(255 - 0.22 * (255 - value)) for value in colour)
            _dashes(canvas, middle, tips[axis], pale, thickness, dash=0.1 * length)
            if axis == 2:
                _dot(canvas, tips[axis], 0.9 * thickness, pale, rim=0.5 * thickness)
        else:
            _line(canvas, middle, tips[axis], (20, 22, 26), thickness + 1.6)  # a dark rim stands out on any skin
            _line(canvas, middle, tips[axis], colour, thickness)
            if axis == 2:
                _dot(canvas, tips[axis], 1.5 * thickness, colour, rim=0.8)
    return canvas


def crop_from_file(reference: str | Path, crop_x: float, crop_y: float, crop_side: float, size: int) -> Image | None:
    """The square that the network saw, (size, size, 3) RGB; black where it reaches past the edge of the image.

    `reference` is what `rankpose.data.crop.read_image` reads. `crop_x`, `crop_y` (the left and top edge) and
    `crop_side` are pixels of that image, whole numbers at pixel centres. None where there is no such file, it is no
    image, or the square is no square: pictures of a run outlive its data.
    """
    if not (math.isfinite(crop_x) and math.isfinite(crop_y) and math.isfinite(crop_side) and crop_side > 0):
        return None
    try:
        stored = read_image(str(reference))
    except DatasetError:
        return None
    # bilinear sampling skips pixels when it shrinks by more than two: sample finer, then average
    finer = min(8, max(1, math.ceil(crop_side / size)))
    scale = finer * size / crop_side
    # whole numbers are pixel centres, and the middle of the square falls on the middle of the crop (data/crop.py)
    shift_x, shift_y = (-scale * edge - 0.5 for edge in (crop_x, crop_y))
    to_crop = np.array([[scale, 0.0, shift_x], [0.0, scale, shift_y]])
    crop = cv2.warpAffine(stored, to_crop, (finer * size, finer * size), flags=cv2.INTER_LINEAR)
    if finer > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=np.uint8)


def gallery_tile(crop: Image, true_deg: ArrayLike, predicted_deg: ArrayLike) -> Image:
    """A crop with the predicted axes (solid) and the true ones (pale dashes on top), legible at half its size."""
    size = crop.shape[0]
    drawn = draw_axes(crop, predicted_deg, thickness=size / 68)
    return draw_axes(drawn, true_deg, thickness=size / 130, dashed=True)


def jpeg_uri(image: Image, quality: int = 84) -> str:
    """An RGB image as a `data:` address. Colour is kept at full resolution: half of it would smear thin red lines."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        1,
    ]
    written, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not written:
        raise ValueError("OpenCV could not write the image as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


# -------------------------------------------------------------------------------------------------------- panels
@dataclass(frozen=True)
class Panel:
    """One small figure."""

    title: str
    label: str
    """The title and, where a page shows several of the same kind, what of: unique there."""
    svg: str
    """`<svg>...</svg>`: scales with its width, text is text, colours are CSS variables."""


def loss_panels(curves: pd.DataFrame) -> list[Panel]:
    """A panel for every `train/...` column of a run's curves, and one for the learning rate, against the step.

    Where there are many points the measured ones are pale and their running mean is solid. A column of Lightning's
    `_step` and `_epoch` kind is one curve, the finer one. Columns without a value are left out.
    """
    names: dict[str, str] = {}
    for column in curves.columns:
        name = re.sub(r"_(step|epoch)$", "", column)
        if column.startswith("train/") and not (name in names and column.endswith("_epoch")):
            names[name] = column
    ordered = sorted(names, key=lambda name: (list(_LOSS_TITLES).index(name) if name in _LOSS_TITLES else 99, name))
    panels = []
    for name in ordered:
        x, y = _series(curves, names[name], "step")
        if not len(x):
            continue
        title = _LOSS_TITLES.get(name, name.removeprefix("train/").replace("_", " "))
        figure, axes = new_panel()
        if len(x) > 60:
            axes.plot(x, y, color=COLOURS["yaw"], alpha=0.28, linewidth=0.7)
            y = pd.Series(y).ewm(span=max(5, len(y) / 25)).mean().to_numpy()
        axes.plot(x, y, color=COLOURS["yaw"], linewidth=1.6, marker="o" if len(x) < 8 else None, markersize=3)
        _log_if_wide(axes, y)
        axes.set_xlabel(_x_name(curves, "step"))
        panels.append(to_panel(figure, title))
    rates = [column for column in curves.columns if column.startswith("lr-")]
    drawn = [(column, *_series(curves, column, "step")) for column in rates]
    drawn = [series for series in drawn if len(series[1])]
    if drawn:
        figure, axes = new_panel()
        for (column, x, y), colour in zip(drawn[:3], ("yaw", "pitch", "roll"), strict=False):
            axes.plot(x, y, color=COLOURS[colour], linewidth=1.4, label=column.removeprefix("lr-"))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_plain)
        axes.set_xlabel(_x_name(curves, "step"))
        if len(drawn) > 1:
            axes.legend()
        panels.append(to_panel(figure, "Learning rate"))
    return panels


def validation_panel(curves: pd.DataFrame) -> Panel | None:
    """Mean absolute error on the validation set by epoch: mean, yaw, pitch, roll; the best mean is marked.

    None where the curves have no `val/...mae` column with a value.
    """
    figure, axes = new_panel()
    found = False
    for key, name in (("yaw_mae", "yaw"), ("pitch_mae", "pitch"), ("roll_mae", "roll"), ("mae", "mean")):
        x, y = _series(curves, f"val/{key}", "epoch")
        if not len(x):
            continue
        found = True
        axes.plot(
            x,
            y,
            color=COLOURS[name],
            linewidth=2.2 if name == "mean" else 1.3,
            marker="o" if len(x) < 8 else None,
            markersize=3,
            label=name,
        )
        if name == "mean":
            best = int(np.argmin(y))
            axes.plot(x[best], y[best], "o", color=COLOURS["mean"], markersize=5, label=f"best, {y[best]:.2f}°")
    if not found:
        return None
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_x_name(curves, "epoch"))
    axes.set_ylabel("degrees")
    axes.legend(loc="upper right")
    title = "Validation error"
    return to_panel(figure, title)


def error_by_angle_panels(predictions: pd.DataFrame) -> list[Panel]:
    """For yaw, pitch and roll: mean absolute error in 10-degree bins of the true angle, above how many images each has.

    Bins beyond 100 degrees are left out. Bars of fewer than five images are pale: their mean says little.
    """
    bins = angle_bins(predictions)
    scale = bin_scale(bins.values())
    panels = []
    for angle, table in bins.items():
        figure, errors, counts = stacked_axes()
        centre, wide = (table["low"] + table["high"]) / 2, 0.86 * (table["high"] - table["low"])
        for row in range(len(table)):
            mae, few = table["mae"].iloc[row], table["n"].iloc[row] < FEW
            if math.isfinite(mae):
                errors.bar(centre.iloc[row], mae, wide.iloc[row], color=COLOURS[angle], alpha=0.32 if few else 1.0)
        counts.bar(centre, table["n"], wide, color=COLOURS["muted"], alpha=0.55)
        counts.set_xlabel(f"true {angle}, degrees")
        scale.apply(errors, counts, float(table["n"].max()) if len(table) else 1.0)
        panels.append(to_panel(figure, f"Error by true {angle}"))
    return panels


def angle_bins(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For yaw, pitch and roll the bins that hold images, to 100 degrees, as `tables.error_by_bin` gives them."""
    bins = {angle: error_by_bin(predictions, angle) for angle in ANGLES}
    return {
        angle: table[(table["n"] > 0) & (table["low"] >= -FURTHEST_DEG) & (table["high"] <= FURTHEST_DEG)]
        for angle, table in bins.items()
    }


@dataclass(frozen=True)
class BinScale:
    """The scale that panels of errors against angles share, so that they compare; degrees."""

    top: float
    low: float
    high: float

    def apply(self, errors: Axes, counts: Axes, images: float) -> None:
        """To the axes of `stacked_axes`; `images` is the fullest bin's number."""
        up_to_a_tick(errors, 4, self.top or 1.0)
        up_to_a_tick(counts, 2, images, whole=True)
        counts.xaxis.set_major_locator(degree_ticks((self.high - self.low) / 2))
        counts.set_xlim(self.low - 3, self.high + 3)


def bin_scale(bins: Iterable[pd.DataFrame], share: float = 0.0) -> BinScale:
    """One scale for several tables of bins; errors of bins with few images, or under a share of them, may run off."""
    bins = list(bins)
    tops = [float(table.loc[table["n"] >= max(FEW, share * table["n"].sum()), "mae"].max()) for table in bins]
    every = [float(table["mae"].max()) for table in bins]
    return BinScale(
        top=max([v for v in tops if math.isfinite(v)] or [v for v in every if math.isfinite(v)] or [1.0]),
        low=min([float(table["low"].min()) for table in bins if len(table)] or [-10.0]),
        high=max([float(table["high"].max()) for table in bins if len(table)] or [10.0]),
    )


def scatter_limit(predictions: Iterable[pd.DataFrame]) -> float:
    """Up to how many degrees scatter panels must reach for these tables; about 100 at most."""
    columns = [*ANGLES, *(f"{angle}_pred" for angle in ANGLES)]
    every = np.concatenate([table[columns].to_numpy(dtype=float).ravel() for table in predictions])
    furthest = min(float(np.abs(every[np.isfinite(every)]).max(initial=0)), FURTHEST_DEG)
    return max(20.0, 10 * math.ceil(furthest / 10 + 0.2))


def scatter_panels(
    predictions: pd.DataFrame, limit: float | None = None, colours: Sequence[str] = ANGLES, about: str = ""
) -> list[Panel]:
    """For yaw, pitch and roll: predicted against true degrees, a dot an image; on the diagonal the two agree.

    Args:
        predictions: with the columns `tables.PREDICTION_COLUMNS`.
        limit: the frame's edge, degrees; angles beyond are outside. By default the `scatter_limit` of these.
        colours: three names of `COLOURS`.
        about: whose predictions, where a page shows several.
    """
    limit = scatter_limit([predictions]) if limit is None else limit
    panels = []
    for angle, colour in zip(ANGLES, colours, strict=True):
        x = predictions[angle].to_numpy(dtype=float)
        y = predictions[f"{angle}_pred"].to_numpy(dtype=float)
        height = _PANEL[0] - _LEFT - _RIGHT + _TOP + _BOTTOM
        figure, axes = new_panel(height)
        axes.plot([-limit, limit], [-limit, limit], color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3))
        # a dot an image would be megabytes of SVG: pixels, whatever the number of images
        alpha = float(np.clip(12 / math.sqrt(max(len(x), 1)), 0.12, 0.8))
        axes.plot(x, y, "o", color=COLOURS[colour], markersize=4, markeredgewidth=0, alpha=alpha, rasterized=True)
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-limit, limit)
        axes.xaxis.set_major_locator(degree_ticks(limit))
        axes.yaxis.set_major_locator(degree_ticks(limit))
        axes.grid(True, axis="both")
        axes.set_xlabel(f"true {angle}, degrees")
        axes.set_ylabel("predicted, degrees")
        title = f"{angle.capitalize()}, predicted against true"
        panels.append(to_panel(figure, title, about))
    return panels


def cumulative_panel(predictions: pd.DataFrame) -> Panel:
    """The share of images whose geodesic error is at most so many degrees, with the median and the 90 % point."""
    errors = np.sort(predictions["geodesic"].dropna().to_numpy(dtype=float))
    figure, axes = new_panel(300)
    title = "Images within a geodesic error"
    if len(errors):
        marks = {level: float(np.quantile(errors, level / 100)) for level in (50, 90)}
        end = max(5.0, 1.15 * float(np.quantile(errors, 0.97)), 1.45 * marks[90])  # room for the label of 90 %
        share = 100.0 * np.arange(1, len(errors) + 1) / len(errors)
        if len(errors) > 400:  # as many points as the panel has pixels
            keep = np.linspace(0, len(errors) - 1, 400).round().astype(int)
            errors, share = errors[keep], share[keep]
        axes.step(
            np.r_[0.0, errors, max(end, errors[-1])], np.r_[0.0, share, 100.0], where="post", color=COLOURS["mean"]
        )
        for level, at in marks.items():
            axes.plot([at, at, 0], [0, level, level], color=COLOURS["muted"], linewidth=0.8, dashes=(3, 3))
            axes.annotate(f"{level} % within {at:.1f}°", (at, level), (7, -11), textcoords="offset points")
        axes.set_xlim(0, end)
    axes.set_ylim(0, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlabel("geodesic error, degrees")
    axes.set_ylabel("% of images")
    return to_panel(figure, title)


# ------------------------------------------------------------------------------------------------- drawing helpers
def model_style(number: int) -> dict[str, Any]:
    """How the lines of a model are drawn, the same in every panel of a page: arguments of matplotlib's `plot`."""
    return {
        "color": COLOURS[model_colour(number)],
        "linestyle": _DASHES[number // MODEL_COLOURS % len(_DASHES)],
        "marker": _MARKS[number % len(_MARKS)],
        "markersize": 4,
        "linewidth": 1.6,
    }


def model_colour(number: int) -> str:
    """The name of a model's colour: a key of `COLOURS` and a variable of the page's style."""
    return f"model-{number % MODEL_COLOURS + 1}"


_SUBPIXEL_BITS = 4


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """OpenCV's fixed-point pixels: short axes would otherwise jump from whole pixel to whole pixel."""
    x, y = np.round(point * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)


def _line(
    canvas: Image, start: NDArray[np.float64], end: NDArray[np.float64], colour: Sequence[int], thickness: float
) -> None:
    """An antialiased line with round ends, of any width (OpenCV's own are of whole pixels): a filled outline."""
    along = end - start
    angle = math.degrees(math.atan2(along[1], along[0]))
    half = thickness / 2
    # the outline: half a circle around each end
    turn = np.radians(np.arange(90, 271, 15) + angle)
    arc = half * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outline = np.concatenate([start + arc, end - arc])
    points = np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(canvas, points, tuple(colour), cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(
    canvas: Image,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    colour: Sequence[int],
    thickness: float,
    dash: float,
) -> None:
    distance = float(np.hypot(*(end - start)))
    pieces = max(1, round((distance / dash + 0.7) / 1.7))  # a gap is 0.7 dashes; both ends are dashes
    step = 1.0 / (pieces + 0.7 * (pieces - 1))
    for piece in range(pieces):
        first = start + (end - start) * (1.7 * piece * step)
        last = start + (end - start) * (1.7 * piece + 1) * step
        _line(canvas, first, last, (20, 22, 26), thickness + 1.4)
        _line(canvas, first, last, colour, thickness)


def _dot(canvas: Image, point: NDArray[np.float64], radius: float, colour: Sequence[int], rim: float) -> None:
    one = 1 << _SUBPIXEL_BITS
    cv2.circle(canvas, _fixed(point), round((radius + rim) * one), (20, 22, 26), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.circle(canvas, _fixed(point), round(radius * one), tuple(colour), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def new_figure(height: float) -> Figure:
    """An empty figure of a panel's width; height in points."""
    return Figure(figsize=(_PANEL[0] * _POINT, height * _POINT))


def new_panel(height: float = _PANEL[1]) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, its margins in points, dressed."""
    figure = new_figure(height)
    width = _PANEL[0]
    box = (_LEFT / width, _BOTTOM / height, 1 - (_LEFT + _RIGHT) / width, 1 - (_TOP + _BOTTOM) / height)
    axes = figure.add_axes(box)
    dress(axes)
    return figure, axes


def stacked_axes() -> tuple[Figure, Axes, Axes]:
    """A figure with a large pair of axes, for errors, over a small one, for how many images there are."""
    width, height = _PANEL[0], _PANEL[1] + 34
    figure = new_figure(height)
    split = 0.38 * (height - _TOP - _BOTTOM)
    box_width = (width - _LEFT - _RIGHT) / width
    counts = figure.add_axes((_LEFT / width, _BOTTOM / height, box_width, (split - 26) / height))
    errors = figure.add_axes(
        (_LEFT / width, (_BOTTOM + split) / height, box_width, 1 - (_TOP + _BOTTOM + split) / height),
        sharex=counts,
    )
    for axes in (errors, counts):
        dress(axes)
    errors.set_ylabel("error, degrees")
    errors.tick_params(axis="x", labelbottom=False)
    counts.set_ylabel("images")
    return figure, errors, counts


def dress(axes: Axes) -> None:
    """Grid, ticks and frame as in every panel."""
    axes.set_axisbelow(True)
    axes.grid(True, axis="y", color=COLOURS["grid"], linewidth=0.8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(COLOURS["muted"])
    axes.tick_params(axis="both", length=0, labelsize=10, labelcolor=COLOURS["muted"], pad=5)
    axes.tick_params(axis="x", length=3, width=0.8, color=COLOURS["muted"], pad=3)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _log_if_wide(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic scale for a curve that falls by more than a factor of 20; else from zero, where it is positive.

    The scale is that of the running mean: one wild step at the start must not flatten the rest.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 20 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 200 * low else (1.0, 3.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(_plain)
    elif low >= 0:
        axes.set_ylim(0, 1.4 * high if high > 0 else 1.0)


def degree_ticks(limit: float) -> MultipleLocator:
    """Ticks at round angles for an axis of about -limit to limit degrees."""
    return MultipleLocator(30 if limit > 60 else 20 if limit > 30 else 10)


def _plain(value: float, _position: float = 0) -> str:
    return f"{value:g}".replace("-", MINUS)


def up_to_a_tick(axes: Axes, ticks: int, highest: float, whole: bool = False) -> None:
    """Let the vertical axis run from zero to a labelled tick at or above `highest`."""
    locator = MaxNLocator(ticks, integer=whole)
    values = locator.tick_values(0, highest)
    axes.yaxis.set_major_locator(locator)
    axes.set_ylim(0, next((float(value) for value in values if value >= highest), highest))


def _x_name(curves: pd.DataFrame, wanted: str) -> str:
    other = "step" if wanted == "epoch" else "epoch"
    return wanted if wanted in curves.columns else other if other in curves.columns else "row of the log"


def _series(curves: pd.DataFrame, column: str, against: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The finite values of a column of Lightning's wide log, in the order of steps; a step logged twice counts once."""
    if column not in curves.columns:
        return np.empty(0), np.empty(0)
    y = pd.to_numeric(curves[column], errors="coerce")
    name = _x_name(curves, against)
    x = pd.to_numeric(curves[name], errors="coerce") if name in curves.columns else pd.Series(range(len(y)), y.index)
    table = pd.DataFrame({"x": x, "y": y}).replace([np.inf, -np.inf], math.nan).dropna()
    table = table.drop_duplicates("x", keep="last").sort_values("x")
    return table["x"].to_numpy(dtype=float), table["y"].to_numpy(dtype=float)


_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and in the page's own letters
    "svg.hashsalt": "rankpose",  # the same figure gives the same file
    "axes.unicode_minus": True,
}


def to_panel(figure: Figure, title: str, *about: str) -> Panel:
    """A drawn figure as a panel; `about` says what of, where a page shows several of this title."""
    label = ", ".join(filter(None, (title, *about)))
    return Panel(title, label, _svg(figure, label))


def _svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element that can stand beside others of other labels in one HTML page."""
    for axes in figure.axes:
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_color(COLOURS["muted"])
            text.set_fontsize(10)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(COLOURS["grid"])
            line.set_linewidth(0.8)
        # labels of all panels at the same place, whatever the width of the numbers
        axes.xaxis.labelpad = 4
        if label_of_y := axes.get_ylabel():
            axes.set_ylabel("")
            axes.annotate(
                label_of_y,
                (0, 1),
                (-_LEFT + 2, 9),
                xycoords="axes fraction",
                textcoords="offset points",
                fontsize=10,
                color=COLOURS["muted"],
                annotation_clip=False,
            )
        legend = axes.get_legend()
        if legend is not None:
            legend.set_frame_on(False)
            for entry in legend.get_texts():
                entry.set_fontsize(10)
                entry.set_color(COLOURS["ink"])
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]  # its stub wants literal keys
        figure.savefig(buffer, format="svg", transparent=True, dpi=180)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    # a style inside one figure would hold for everything on the page
    drawn = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, flags=re.DOTALL)
    # ids are unique in a figure only
    prefix = f"f{zlib.crc32(label.encode()):x}"
    drawn = re.sub(r'\bid="', f'id="{prefix}-', drawn)
    drawn = drawn.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    box = re.search(r'viewBox="[^"]*"', drawn)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    drawn = re.sub(
        r"<svg[^>]*>",
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group()} stroke-linejoin="round" role="img" aria-label="{html.escape(label)}">',
        drawn,
        count=1,
    )
    for name, value in COLOURS.items():
        drawn = drawn.replace(value, f"var(--{name}, {value})")
    return str(drawn).strip()
