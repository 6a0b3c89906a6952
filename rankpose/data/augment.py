"""How training images are varied, and what that does to their labels.

Three steps, each optional: the view (one warp: scale, zoom, shift, in-plane turn, flip; the label follows), colours
(albumentations on uint8), and the surroundings swap over a batch. There is no shear and no uneven scale: the result of
those shows no head pose.
"""

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from rankpose.data.crop import View
from rankpose.errors import ConfigError, one_line
from rankpose.pose import flip_pose, turn_pose

# albumentations, which a test or a prediction does without, asks a server for news at its import otherwise
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class Views:
    """Draws the crops of training images; the defaults are the published ones, without turn and flip.

    The crop's square has `scale` times the larger side of the face box. It is resized to `enlarge` times the input, in
    every second image (`zoom_p`) by up to `zoom` more or less, and the input is cut out of it at random.

    Args:
        scale: range of the square's side over the face box's; one draw for all images of an identity's visit.
        enlarge: 1.1 as published; 1 leaves no room to shift.
        zoom: share, 0.1 as published.
        zoom_p: probability of a zoom.
        turn_deg: range of in-plane turns is +- this.
        turn_p: probability of a turn.
        flip_p: probability that all images of an identity's visit are mirrored: pairs are never mixed.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (1.4, 1.6),
        enlarge: float = 1.1,
        zoom: float = 0.1,
        zoom_p: float = 0.5,
        turn_deg: float = 0.0,
        turn_p: float = 1.0,
        flip_p: float = 0.0,
    ) -> None:
        if isinstance(scale, int | float) or len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"augment.views.scale={scale}: must be a range [LEAST, MOST] above 0.")
        for name, share in (("zoom_p", zoom_p), ("turn_p", turn_p), ("flip_p", flip_p)):
            _check_probability(f"augment.views.{name}", share)
        self.scale = (float(scale[0]), float(scale[1]))
        self.enlarge, self.zoom, self.zoom_p = enlarge, zoom, zoom_p
        self.turn_deg, self.turn_p, self.flip_p = turn_deg, turn_p, flip_p

    @property
    def extent(self) -> float:
        """Side of the largest crop over the face box's, shifts included: what a packed file must hold."""
        # where it shrinks there is no room to shift, and where it enlarges the shift stays within the square
        return self.scale[1] / min(1.0, self.enlarge * (1 - (self.zoom if self.zoom_p > 0 else 0)))

    @property
    def largest_turn_deg(self) -> float:
        """Of the image in its plane, either way."""
        return self.turn_deg if self.turn_p > 0 else 0.0

    def draw(self, visit: np.random.Generator, image: np.random.Generator) -> View:
        """One view: `visit` draws what the images of an identity's visit share, `image` the rest."""
        scale, flip = visit.uniform(*self.scale), visit.random() < self.flip_p
        zoom = self.enlarge
        if image.random() < self.zoom_p:
            zoom *= 1 + image.uniform(-self.zoom, self.zoom)
        room = max(0.0, zoom - 1) / 2
        shift = image.uniform(-room, room, size=2)
        turn = image.uniform(-self.turn_deg, self.turn_deg) if image.random() < self.turn_p else 0.0
        return View(scale, zoom, (float(shift[0]), float(shift[1])), float(turn), bool(flip))


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value}: is a probability, from 0 to 1.")


def follow_pose(pose_deg: np.ndarray, views: Sequence[View]) -> np.ndarray:
    """The labels after the views: (N, 3) degrees and N views to (N, 3) degrees. Turn first, then flip."""
    pose = torch.as_tensor(pose_deg, dtype=torch.float64)
    turn = torch.tensor([view.turn_deg for view in views], dtype=torch.float64)
    flip = torch.tensor([view.flip for view in views])
    # an untouched label stays as it is: angles beyond 90 degrees of yaw would come back as another triple
    pose = torch.where((turn != 0)[:, None], turn_pose(pose, turn), pose)
    return torch.where(flip[:, None], flip_pose(pose), pose).float().numpy()


class Colours:
    """A list of albumentations transforms on one RGB uint8 image, reproducible from a seed.

    Raises:
        ConfigError: one of them moves pixels, which would leave the label behind, or gives another kind of image.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        import albumentations as A

        for transform in _one_by_one(transforms):
            _check_colour(transform)
        self.compose = A.Compose(list(transforms))

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """(H, W, 3) uint8 to the same."""
        # not set_random_seed: it makes generators anew for each transform, which takes longer than the transforms
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed: np.ndarray = self.compose(image=image)["image"]
        return changed


def _one_by_one(transforms: Sequence[Any]) -> Iterator[Any]:
    """The transforms inside OneOf, Sequential and the like, however deep."""
    import albumentations as A

    for transform in transforms:
        if isinstance(transform, A.BaseCompose):
            yield from _one_by_one(transform.transforms)
        else:
            yield transform


def _check_colour(transform: Any) -> None:
    import albumentations as A
    from albumentations.augmentations.dropout.transforms import BaseDropout

    name = type(transform).__name__
    if not isinstance(transform, A.BasicTransform):
        raise ConfigError(f"augment.colours: {name} is no transform of albumentations.")
    # whatever may move pixels is a DualTransform; among these are some that only paint over them
    in_place = isinstance(transform, (BaseDropout, A.PixelDropout, A.Morphological)) or type(transform) is A.NoOp
    if isinstance(transform, A.DualTransform) and not in_place:
        raise ConfigError(
            f"augment.colours: {name} moves pixels and leaves the label behind. Mirror images, turns and sizes, whose "
            "labels follow, are augment.views.flip_p, turn_deg, scale and zoom; take out whatever else moves pixels."
        )
    image = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    try:
        changed = transform(image=image, force_apply=True)["image"]
    except Exception as error:  # each transform has errors of its own
        reason = one_line(error)
        raise ConfigError(f"augment.colours: {name} does not take an image alone ({reason}).") from error
    if changed.shape != image.shape or changed.dtype != image.dtype:
        raise ConfigError(
            f"augment.colours: {name} makes {changed.dtype} of shape {tuple(changed.shape)} of an RGB image of bytes; "
            "take it out: the network scales its input itself."
        )


class SurroundingsSwap:
    """Puts a face into the hair, neck and background of another image of the batch.

    A network that may use them reads roll from hair and neck, which on photographs turn otherwise than on renders (the
    neck bends, the hair falls). The face is the hull of the landmarks with a forehead, softly cut out.

    Args:
        p: share of images whose surroundings are swapped.
        grow: range by which the hull is scaled about its centre.
        soft: standard deviation of the cut's blur, share of the input's side.
    """

    def __init__(self, p: float = 0.5, grow: tuple[float, float] = (0.95, 1.2), soft: float = 0.02) -> None:
        _check_probability("augment.surroundings.p", p)
        self.p, self.grow, self.soft = p, (float(grow[0]), float(grow[1])), soft

    def __call__(self, images: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, H, W, 3) uint8 and (N, 68, 2) input pixels to (N, H, W, 3) uint8."""
        count, size = len(images), images.shape[1]
        swapped = images.copy()
        donors = rng.permutation(count)
        for i in np.flatnonzero(rng.random(count) < self.p):
            mask = face_mask(landmarks[i], size, rng.uniform(*self.grow), self.soft * size)[..., None]
            swapped[i] = (mask * images[i] + (1 - mask) * images[donors[i]] + 0.5).astype(np.uint8)
        return swapped


def face_mask(landmarks: np.ndarray, size: int, grow: float, soft: float) -> np.ndarray:
    """How much of each pixel is face: (68, 2) pixels to (size, size) float32 in [0, 1].

    The forehead reaches as far above the brows as the nose's base lies below them.
    """
    brows, nose = landmarks[17:27], landmarks[33]
    forehead = brows + (brows.mean(axis=0) - nose)
    hull = cv2.convexHull(np.concatenate([landmarks, forehead]).astype(np.float32))[:, 0]
    centre = hull.mean(axis=0)
    polygon = np.round((centre + grow * (hull - centre)) * 16).astype(np.int32)
    mask = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(mask, polygon, 1.0, lineType=cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), soft) if soft > 0 else mask


class Augment:
    """What happens to training images.

    Args:
        views: draws the crops; None is the test's view for every image.
        colours: albumentations transforms, or none.
        surroundings: the swap over a batch, or none.
    """

    def __init__(
        self,
        views: Views | None = None,
        colours: Sequence[Any] | None = None,
        surroundings: SurroundingsSwap | None = None,
    ) -> None:
        self.views = views
        self.colours = Colours(colours) if colours else None
        self.surroundings = surroundings
