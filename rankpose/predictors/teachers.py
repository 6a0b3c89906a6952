"""What do several models make of a face that nobody has labelled? A pose, a weight, or a reason to leave it out.

A teacher is any model, asked once of the picture and, where wanted, once of its mirror image. The label is the mean of
all rotations that they say; how far apart these are says how good it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from rankpose.data.record import Records
from rankpose.errors import ConfigError
from rankpose.pose import ANGLES, euler_to_rotmat, mean_rotation, rotmat_to_euler, spread

LEAST_WEIGHT = 0.05
"""Of a label whose teachers are as far apart as they may be."""


@dataclass(frozen=True)
class Agreement:
    """When is what teachers say a label?

    Args:
        agree_deg: the two answers that differ most may be this many degrees apart.
        min_presence: every teacher must be this sure that a face is there.
    """

    agree_deg: float = 15.0
    min_presence: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.agree_deg <= 180:
            raise ConfigError(f"agree_deg={self.agree_deg}: must be above 0, and at most 180 degrees.")
        if not 0 <= self.min_presence <= 1:
            raise ConfigError(f"min_presence={self.min_presence}: must be from 0 to 1.")

    def labels(self, said: np.ndarray, teachers: Sequence[str], records: Records) -> pd.DataFrame:
        """A row a face, in the order of the records.

        Args:
            said: (N, M, 4) yaw, pitch, roll in degrees and presence of M answers: one a teacher, and where the mirrored
                picture was looked at as well, another one a teacher.
            teachers: their names.
            records: the faces.

        Returns:
            `image`, `identity`; `yaw`, `pitch`, `roll` in degrees, empty where no teacher sees a face; `weight`, from
            `LEAST_WEIGHT` to 1, presence times `1 - (spread / agree_deg)^2`; `rejected`, the reason or empty; the face
            box `left`, `top`, `right`, `bottom` in pixels; `spread` in degrees, `presence`, and of each teacher
            `NAME_yaw`, `NAME_pitch`, `NAME_roll`.
        """
        rotations = euler_to_rotmat(torch.from_numpy(np.nan_to_num(said[..., :3]))).transpose(0, 1)
        seen = np.isfinite(said[..., :3]).all(axis=2)
        apart, presence = spread(rotations).numpy(), np.nan_to_num(said[..., 3]).min(axis=1)
        pose = rotmat_to_euler(mean_rotation(rotations)).numpy()
        pose[~seen.all(axis=1)] = np.nan
        weight = np.maximum(presence * (1 - (apart / self.agree_deg) ** 2), LEAST_WEIGHT)
        rejected = [
            self._reason(face, teachers, far, sure) for face, far, sure in zip(seen, apart, presence, strict=True)
        ]
        columns: dict[str, object] = {"image": records.names, "identity": records.identity_names[records.identity]}
        columns |= dict(zip(ANGLES, pose.T.round(3), strict=True))
        columns |= {"weight": weight.round(3), "rejected": rejected}
        columns |= dict(zip(("left", "top", "right", "bottom"), records.face_box.T.round(2), strict=True))
        columns |= {"spread": np.where(seen.all(axis=1), apart, np.nan).round(3), "presence": presence.round(3)}
        for k, name in enumerate(teachers):
            mean = rotmat_to_euler(mean_rotation(rotations[k :: len(teachers)])).numpy()
            mean[~seen[:, k :: len(teachers)].all(axis=1)] = np.nan
            columns |= {f"{name}_{angle}": mean[:, i].round(3) for i, angle in enumerate(ANGLES)}
        return pd.DataFrame(columns)

    def _reason(self, seen: np.ndarray, teachers: Sequence[str], apart: float, presence: float) -> str:
        if not seen.all():
            return f"{teachers[int(np.argmin(seen)) % len(teachers)]} sees no face"
        if presence < self.min_presence:
            return f"presence below {self.min_presence:g}"
        return f"answers more than {self.agree_deg:g} degrees apart" if apart > self.agree_deg else ""


def counts(labels: pd.DataFrame) -> Mapping[str, int]:
    """How many faces have a label (the empty text), and how many were left out for each reason."""
    return {str(reason): int(count) for reason, count in labels["rejected"].value_counts().items()}
