"""Where does a network look for an angle? Maps over the input, brought into one frame and averaged over people.

Three maps of each angle, all positive and with sum 1: integrated gradients (from a grey picture), Grad-CAM of the last
stage (both of captum, the extra `probe`), and occlusion: how far the angle moves when a grey patch hides a place.

Crops already agree in the face's middle and size; within a bin of yaw every map is moved, turned and scaled so that its
landmarks lie best on the bin's mean landmarks, then averaged. How much of a map lies at the landmarks, at the outline
of the face, on hair and on the background is measured on each crop as it is, and stands beside the share of the crop's
area: a map that looks nowhere in particular has the two alike.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from rankpose.evaluation.statistics import Interval, bootstrap_mean
from rankpose.models import PoseNet
from rankpose.pose import ANGLES
from rankpose.probing import check_extra

GRADIENTS, GRAD_CAM, OCCLUSION = METHODS = ("integrated gradients", "Grad-CAM", "occlusion")
STEPS = 12
"""Of the path that gradients are integrated over."""
PLACES = 9
"""Patches of occlusion in a row; each is a fifth of the crop wide."""
YAW_BINS = {"turned left": (30.0, 180.0), "frontal": (-30.0, 30.0), "turned right": (-180.0, -30.0)}
"""Degrees of yaw, by 300W-LP's sign; left and right as seen."""
NEAR = 0.1
"""Of the face's larger side: how near to a landmark or to the outline counts as at it."""
OUTLINE = 17
"""The first landmarks of the 68: the jaw line from ear to ear."""
PLACES_OF_INTEREST = ("landmarks", "outline", "hair", "background")


def grey_of(net: nn.Module) -> float | Tensor:
    """What stands for nothing: the mean colour that the network's input is normalised by."""
    mean: Any = getattr(net, "mean", None)
    return 255 * mean if isinstance(mean, Tensor) else 127.5


def look(
    net: Callable[[Tensor], Any], image: Tensor, stage: nn.Module | None = None, batch_size: int = 64
) -> dict[str, np.ndarray]:
    """Maps of each angle.

    Args:
        net: gives a `PoseOutput` for (N, 3, H, W).
        image: (N, 3, H, W) uint8.
        stage: whose output (N, C, h, w) Grad-CAM reads; None for a network without such, which gets none.
        batch_size: images at a time.

    Returns:
        by method (N, 3, H, W) float32, yaw, pitch, roll.
    """
    check_extra()
    from captum.attr import IntegratedGradients, LayerGradCam

    def pose(pixels: Tensor) -> Tensor:
        found: Tensor = net(pixels).pose
        return found

    grey = grey_of(net)  # type: ignore[arg-type]
    found: dict[str, list[Tensor]] = {method: [] for method in METHODS if stage is not None or method != GRAD_CAM}
    for pixels in image.float().split(batch_size):
        blank = torch.zeros_like(pixels[:1]) + grey
        gradients, cams = IntegratedGradients(pose), None if stage is None else LayerGradCam(pose, stage)
        by_angle: dict[str, list[Tensor]] = {method: [] for method in found if method != OCCLUSION}
        for place in range(len(ANGLES)):
            said = gradients.attribute(pixels, blank, target=place, n_steps=STEPS, internal_batch_size=batch_size)
            by_angle[GRADIENTS].append(said.detach().sum(1).abs())
            if cams is not None:
                coarse = cams.attribute(pixels, target=place).detach().abs()
                fine = nn.functional.interpolate(coarse, pixels.shape[-2:], mode="bilinear")
                by_angle[GRAD_CAM].append(fine[:, 0])
        for method, three in by_angle.items():
            found[method].append(torch.stack(three, 1))
        found[OCCLUSION].append(_occluded(pose, pixels, blank))
    return {method: _shares(torch.cat(maps)) for method, maps in found.items()}


@torch.no_grad()
def _occluded(pose: Callable[[Tensor], Tensor], pixels: Tensor, blank: Tensor) -> Tensor:
    """(N, 3, H, W): how far each angle moves, degrees, when a patch about a place is grey."""
    height, width = pixels.shape[-2:]
    clear = pose(pixels)
    moved = torch.zeros(len(pixels), len(ANGLES), PLACES, PLACES)
    for row in range(PLACES):
        for column in range(PLACES):
            hidden = pixels.clone()
            top, left = (round((place + 0.5) / PLACES * side) for place, side in ((row, height), (column, width)))
            rows = slice(max(0, top - height // 10), top + height // 10 + 1)
            columns = slice(max(0, left - width // 10), left + width // 10 + 1)
            hidden[..., rows, columns] = blank[..., rows, columns]
            moved[..., row, column] = (pose(hidden) - clear).abs().cpu()
    return nn.functional.interpolate(moved, (height, width), mode="bilinear")


def _shares(maps: Tensor) -> np.ndarray:
    """Maps with sum 1; one that is nothing at all is even."""
    values = maps.double().cpu().numpy()
    total = values.sum((-2, -1), keepdims=True)
    even = np.full_like(values, 1 / values[0, 0].size)
    return np.where(total > 0, values / np.where(total > 0, total, 1), even).astype(np.float32)


def shuffled(net: PoseNet, seed: int) -> PoseNet:
    """A copy in which the numbers of each weight tensor change places: what a map owes to the architecture alone."""
    other = copy.deepcopy(net)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=random)].view_as(weight))
    return other


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """The mean rank correlation of two sets of maps (N, 3, H, W), each averaged to 12 x 12: 1 the same, 0 unlike."""
    coarse = [
        nn.functional.adaptive_avg_pool2d(torch.from_numpy(one), 12).flatten(2).flatten(0, 1).numpy()
        for one in (first, second)
    ]
    return float(np.mean([spearmanr(one, other).statistic for one, other in zip(*coarse, strict=True)]))


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network sees of a set of heads, and what is where."""

    image: Tensor
    """(N, 3, S, S) uint8."""
    yaw: np.ndarray
    """(N,) degrees."""
    person: np.ndarray
    """(N,) whole numbers from 0."""
    landmarks: np.ndarray | None
    """(N, M, 2) pixels of the crop; None where nobody knows them."""
    frame: np.ndarray | None = None
    """(N, M, 2) pixels of the crop by which heads are brought into one frame, where there are no landmarks."""
    hair: np.ndarray | None = None
    background: np.ndarray | None = None
    """(N, S, S) bool, where a set knows the parts of its heads."""


def places(seen: Seen) -> dict[str, np.ndarray]:
    """(N, S, S) bool of each of `PLACES_OF_INTEREST` that is known; a pixel may be in several."""
    found: dict[str, np.ndarray] = {}
    if seen.landmarks is not None:
        size = seen.image.shape[-1]
        at, outline = (np.zeros((len(seen.image), size, size), np.uint8) for _ in range(2))
        for number, points in enumerate(seen.landmarks):
            near = max(1, round(NEAR * float(np.ptp(points, axis=0).max())))
            for x, y in points:
                cv2.circle(at[number], (round(float(x)), round(float(y))), near, 1, -1)
            if len(points) == 68:
                line = np.rint(points[:OUTLINE]).astype(np.int32)[:, None]
                cv2.polylines(outline[number], [line], False, 1, 2 * near)
        found["landmarks"] = at.astype(bool)
        if seen.landmarks.shape[1] == 68:
            found["outline"] = outline.astype(bool)
    if seen.hair is not None and seen.background is not None:
        found |= {"hair": seen.hair, "background": seen.background}
    return found


def shares(
    maps: np.ndarray, where: Mapping[str, np.ndarray], person: np.ndarray, resamples: int, seed: int
) -> dict[str, tuple[Interval, float]]:
    """How much of a map (N, S, S) lies at each place, with its interval over people, and the share of the area."""
    return {
        name: (bootstrap_mean(share_of_each(maps, mask), person, resamples, seed), float(mask.mean()))
        for name, mask in where.items()
    }


def share_of_each(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N,) how much of each map (N, S, S) lies where a mask (N, S, S) is true."""
    return np.asarray((maps * mask).sum((1, 2)))


def fit(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2, 3) the similarity that brings (M, 2) points nearest to others: move, turn and scale (least squares)."""
    one, other = (part[:, 0] + 1j * part[:, 1] for part in (points.astype(float), onto.astype(float)))
    turn = np.vdot(one - one.mean(), other - other.mean()) / np.square(np.abs(one - one.mean())).sum()
    shift = other.mean() - turn * one.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


@dataclass(frozen=True, eq=False)
class Averaged:
    """The heads of one bin of yaw in one frame."""

    bin: str
    heads: int
    face: np.ndarray
    """(S, S, 3) uint8: the mean picture."""
    maps: Mapping[str, np.ndarray]
    """By method (3, S, S) float32: the mean map of each angle."""


def averaged(seen: Seen, maps: Mapping[str, np.ndarray]) -> list[Averaged]:
    """Mean maps by bin of yaw; bins without heads are left out."""
    size = seen.image.shape[-1]
    found = []
    for name, (low, high) in YAW_BINS.items():
        rows = np.flatnonzero((seen.yaw >= low) & (seen.yaw < high))
        if not len(rows):
            continue
        matrices = [np.eye(2, 3) for _ in rows]
        points = seen.frame if seen.landmarks is None else seen.landmarks
        if points is not None:
            mean = points[rows].mean(0)
            matrices = [fit(own, mean) for own in points[rows]]

        def brought(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
            return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR))

        pictures = seen.image[rows].permute(0, 2, 3, 1).numpy()
        face = np.mean([brought(*one) for one in zip(pictures, matrices, strict=True)], axis=0)
        mean_maps = {
            method: np.mean(
                [brought(one[row].transpose(1, 2, 0), matrix) for row, matrix in zip(rows, matrices, strict=True)],
                axis=0,
            ).transpose(2, 0, 1)
            for method, one in maps.items()
        }
        found.append(Averaged(name, len(rows), np.rint(face).astype(np.uint8), mean_maps))
    return found


def last_map(net: PoseNet, names: Sequence[str], image: Tensor) -> nn.Module | None:
    """The last stage that gives a map (N, C, h, w) wider than a point, for Grad-CAM; None where none does."""
    modules, found = dict(net.backbone.named_modules()), []
    for name in names:
        shapes: list[tuple[int, ...]] = []
        hook = modules[name].register_forward_hook(lambda _, given, out, into=shapes: into.append(tuple(out.shape)))
        try:
            with torch.no_grad():
                net(image[:1])
        finally:
            hook.remove()
        if len(shapes[0]) == 4 and min(shapes[0][2:]) > 1 and shapes[0][1] > shapes[0][3] // 2:
            found.append(modules[name])
    return found[-1] if found else None
