"""No detector: the picture is one face already, cut out by somebody else."""

import numpy as np

from rankpose.faces import Face, FaceDetector


class Whole(FaceDetector):
    """The whole picture as one face of score 1.

    Args:
        side, lower: of the landmarks in such a picture, see `FaceDetector`. As they stand, the square of 1.4 times the
            landmarks' box, which networks of ours see, is the picture.
    """

    def __init__(self, side: float = 1 / 1.4, lower: float = 0.0) -> None:
        super().__init__(side, lower)

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        return [Face((-0.5, -0.5, width - 0.5, height - 0.5), 1.0)]
