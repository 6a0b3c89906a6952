"""A checkpoint of ours as a predictor."""

from pathlib import Path

import torch
from torch import Tensor, nn

from rankpose.data.crop_rules import RankPoseCrop
from rankpose.models.checkpoint import load_net
from rankpose.pose import ANGLES, PoseOutput, euler_to_rotmat, flip_pose, mean_rotation, rotmat_to_euler


class CheckpointPredictor(nn.Module):
    """The network of a checkpoint, in evaluation mode, with the crop and size that it was trained for.

    Args:
        checkpoint: a file that `rankpose.train` or `rankpose.export` wrote, a run, or the name of a shipped model.
        mirror: ask for the mirrored crop as well, and answer with the mean rotation: better, in twice the time.

    Raises:
        CheckpointError: missing, unreadable, or written by something else.
    """

    def __init__(self, checkpoint: str | Path, mirror: bool = False) -> None:
        super().__init__()
        self.net, made_from = load_net(checkpoint)
        self.checkpoint, self.made_from, self.mirror = checkpoint, made_from, mirror
        self.crop = RankPoseCrop(made_from.test_scale)
        self.size = made_from.image_size
        self.keys = dict.fromkeys(("unit", *ANGLES), "the labels that it was trained with")

    def forward(self, image: Tensor) -> PoseOutput:
        """(N, 3, size, size) uint8, red first, to poses (N, 3) in degrees."""
        output: PoseOutput = self.net(image)
        if not self.mirror:
            return output
        other: PoseOutput = self.net(image.flip(-1))
        both = torch.stack([output.pose, flip_pose(other.pose)]).double()
        return PoseOutput(rotmat_to_euler(mean_rotation(euler_to_rotmat(both))).float(), output.raw)

    def expected_error(self, said: PoseOutput) -> Tensor | None:
        """How far the network thinks what it `said` to be from the truth, (N,) degrees; None of one that says no error.

        Of the picture alone, also where the mirrored one was asked for as well.
        """
        return self.net.expected_error(said)
