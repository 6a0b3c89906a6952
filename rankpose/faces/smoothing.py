"""How does a pose hold still in a film without lagging behind? The one-euro filter, on the rotation itself.

Angles cannot be filtered one by one: near 90 degrees of yaw, pitch and roll jump while the head hardly turns.

Cite
    G. Casiez, N. Roussel, D. Vogel: 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
    Systems. CHI 2012.
"""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from rankpose.errors import ConfigError


class OneEuro:
    """A low-pass filter whose cut-off rises with the speed: still heads are steady, quick ones are not held back.

    Args:
        min_cutoff_hz: of a head that is still; lower is steadier.
        speed_factor: by how many Hz the cut-off rises for each degree a second.
        speed_cutoff_hz: of the speed itself.
        gap_s: after a longer gap the filter begins anew, seconds.

    Raises:
        ConfigError: a cut-off or a gap that is not above 0.
    """

    def __init__(
        self,
        min_cutoff_hz: float = 1.5,
        speed_factor: float = 0.1,
        speed_cutoff_hz: float = 1.5,
        gap_s: float = 0.5,
    ) -> None:
        for name, value in (("min_cutoff_hz", min_cutoff_hz), ("speed_cutoff_hz", speed_cutoff_hz), ("gap_s", gap_s)):
            if not value > 0:
                raise ConfigError(f"smoothing.{name}={value}: must be above 0.")
        self.min_cutoff_hz, self.speed_factor = min_cutoff_hz, speed_factor
        self.speed_cutoff_hz, self.gap_s = speed_cutoff_hz, gap_s
        self._last: tuple[float, Rotation, Rotation, np.ndarray] | None = None
        """Time, measured and filtered rotation, and velocity: (3,) degrees a second about the head's axes."""

    def __call__(self, rotation: np.ndarray, time: float) -> np.ndarray:
        """The filtered rotation.

        Args:
            rotation: (3, 3), as measured.
            time: seconds; not before the last one.
        """
        measured = Rotation.from_matrix(rotation)
        if self._last is None or not 0 < time - self._last[0] <= self.gap_s:
            self._last = (time, measured, measured, np.zeros(3))
            return np.asarray(rotation)
        before, last, filtered, velocity = self._last
        step = time - before
        moved = (last.inv() * measured).as_rotvec(degrees=True) / step
        velocity = velocity + _share(self.speed_cutoff_hz, step) * (moved - velocity)
        share = _share(self.min_cutoff_hz + self.speed_factor * float(np.linalg.norm(velocity)), step)
        filtered = filtered * Rotation.from_rotvec(share * (filtered.inv() * measured).as_rotvec())
        self._last = (time, measured, filtered, velocity)
        return np.asarray(filtered.as_matrix())


def _share(cutoff_hz: float, step: float) -> float:
    """How far a first-order low-pass filter goes towards what is measured in one step."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * step))
