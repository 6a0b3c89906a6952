"""What is known of each picture, as a probe can be asked for it? Columns of `factors.parquet`, brought into factors.

A factor is a number or several that belong together (a direction, a colour), or a class. One that all pictures of a
person share (`of_person`) can only be told from other people, so it has as many examples as there are people.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rankpose.pose import ANGLES

IDENTITY = "identity"


@dataclass(frozen=True, eq=False)
class Factor:
    """One thing that pictures differ in."""

    name: str
    group: str
    """Under which heading it stands: pose, person, light, camera, surroundings."""
    values: np.ndarray
    """(N, K) float64 numbers, or (N,) text classes."""

    @property
    def is_class(self) -> bool:
        return self.values.ndim == 1


def _log(columns: Sequence[str], low: float = 1e-3) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda table: np.log(table[list(columns)].to_numpy(float).clip(low))


def _numbers(*columns: str) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda table: table[list(columns)].to_numpy(float)


def _words(column: str) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda table: table[column].to_numpy(str)


def _triple(column: str) -> list[str]:
    return [f"{column}_{place}" for place in range(3)]


def _film(table: pd.DataFrame) -> np.ndarray:
    """How sharp a picture is."""
    soft, small, moved = table["scene_blur_px"] > 0, table["scene_downscale"] < 1, table["scene_motion_px"] > 0
    return np.select([moved, soft, small], ["moved", "blurred", "low resolution"], "sharp")


SHAPE = ("head_width", "jaw_width", "chin_length", "nose_length", "nose_forward", "eye_spacing", "mouth_width")
_KNOWN: dict[str, dict[str, Callable[[pd.DataFrame], np.ndarray]]] = {
    "person": {
        "shape of the face": _numbers(*(f"identity_{name}" for name in SHAPE)),
        "femininity": _numbers("identity_femininity"),
        "age": _numbers("identity_age"),
        "skin": _numbers("identity_skin_red", "identity_skin_green", "identity_skin_blue"),
        "hair, colour": _numbers("identity_hair_red", "identity_hair_green", "identity_hair_blue"),
        "hair, style": _words("identity_hair_style"),
        "beard": _words("identity_beard"),
        "glasses": _words("identity_glasses"),
        "mouth open": _numbers("expression_mouth_open"),
        "smile": _numbers("expression_smile"),
        "eyelids": _numbers("expression_lids"),
    },
    "light": {
        "light, kind": _words("scene_light"),
        "light, direction": _numbers(*_triple("scene_key_direction")),
        "light, colour": _log(_triple("scene_key_colour")),
        "light, strength": _log(["scene_exposure"]),
        "white balance": _log(_triple("scene_white_balance")),
    },
    "camera": {
        "distance of the camera": lambda table: 1 / table[["scene_distance_cm"]].to_numpy(float),
        "sharpness": _film,
        "noise": _log(["scene_noise"]),
    },
    "surroundings": {"background": _words("scene_background"), "something before the face": _words("scene_occluder")},
}
"""By group and name, from a table of factors; the distance as its inverse, which is how strong the perspective is."""


def known_factors(pose: np.ndarray, identity: np.ndarray, table: pd.DataFrame | None) -> list[Factor]:
    """Everything that is known of pictures.

    Args:
        pose: (N, 3) degrees.
        identity: (N,) whole numbers.
        table: (N) rows as `rankpose.data.synthetic.rendering.read_factors` gives them; None where there are none.
    """
    known = [Factor(angle, "pose", pose[:, [place]].astype(float)) for place, angle in enumerate(ANGLES)]
    known.append(Factor(IDENTITY, "person", identity.astype(str)))
    if table is not None:
        known += [Factor(name, group, make(table)) for group, names in _KNOWN.items() for name, make in names.items()]
    return known
