"""A checkpoint of ours as a predictor."""

from pathlib import Path

from torch import Tensor, nn

from rankpose.data.crop_rules import RankPoseCrop
from rankpose.models.checkpoint import load_net
from rankpose.pose import ANGLES, PoseOutput


class CheckpointPredictor(nn.Module):
    """The network of a checkpoint, in evaluation mode, with the crop and size that it was trained for.

    Args:
        checkpoint: a file that `rankpose.train` wrote.

    Raises:
        CheckpointError: missing, unreadable, or written by something else.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        super().__init__()
        self.net, made_from = load_net(checkpoint)
        self.crop = RankPoseCrop(made_from.test_scale)
        self.size = made_from.image_size
        self.keys = dict.fromkeys(("unit", *ANGLES), "the labels that it was trained with")

    def forward(self, image: Tensor) -> PoseOutput:
        """(N, 3, size, size) uint8, red first, to poses (N, 3) in degrees."""
        output: PoseOutput = self.net(image)
        return output
