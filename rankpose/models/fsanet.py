"""FSA-Net's backbone (Yang, Chen, Lin, Chuang, CVPR 2019): three stages of features, aggregated as a structure.

1. Two streams of separable convolutions, one with ReLU and average pooling, one with tanh and maximum pooling, in three
   stages (16, 32, 32 | 64, 64 | 128, 128 channels). The streams of a stage are multiplied, brought to c = 64 channels
   by a 1x1 convolution and pooled to w x h = 8 x 8: `U_k`, k = 1 .. K = 3. In their place a timm model's last three
   feature maps may stand (`trunk`).
2. A score of every place, `A_k(i, j) = phi(u)` for the feature u there: `1x1`, a sigmoid of a learnt weighting; `var`,
   the sum of `(u_l - mean u)^2`; or `uniform`, `phi = 1`.
3. Fine-grained structure: n' = 7 features a stage are mixed of all n = w h K by `S_k U`, where U has the features of
   all stages as rows and `S_k = C M_k`, `C = sigmoid(f_C([A_1 .. A_K]))` (n' x m), `M_k = sigmoid(f_M(A_k))` (m x n),
   m = 5; f_C and f_M are linear layers, the rows of `S_k` add up to 1. Where all scores are 1 there is no structure to
   see: `uniform` has no mapping, all n features go on (the paper's "w/o").
4. Capsules (Sabour, Frosst, Hinton: Dynamic Routing Between Capsules, NeurIPS 2017): `u_{j|i} = W_ij u_i`,
   `s_j = sum_i c_ij u_{j|i}`, `v_j = |s_j|^2 / (1 + |s_j|^2) s_j / |s_j|`, with `c_i = softmax(b_i)` and
   `b_ij += u_{j|i} . v_j` for two rounds. Three capsules of 16 numbers come out, one a stage of the regression
   (`rankpose.pose.StagedRegression`).

With the regression on top the three scorings have 0.22, 0.22 and 0.68 million weights. The paper's best figures are the
mean of three networks, one of each scoring, trained apart.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from rankpose.errors import ConfigError

STAGES, CHANNELS, SIDE = 3, 64, 8
"""K; c; w and h."""
STRUCTURES, GROUPS = 7, 5
"""n' and m."""
CAPSULE, ROUNDS = 16, 2
Scoring = Literal["1x1", "var", "uniform"]


class FSANet(nn.Module):
    """Images (N, 3, H, W) to (N, 48): 16 numbers for each of three stages.

    Args:
        scoring: of places, see the module.
        trunk: a timm model whose feature maps stand in for the two streams; None: the streams.
        trunk_options: further arguments of that model.
        pretrained: take the trunk's ImageNet weights from the hub.

    Raises:
        ConfigError: no such scoring or trunk, or ImageNet weights of the streams, which there are not.
    """

    num_features = STAGES * CAPSULE

    def __init__(
        self,
        scoring: Scoring = "1x1",
        trunk: str | None = None,
        trunk_options: Mapping[str, Any] | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if scoring not in get_args(Scoring):
            raise ConfigError(f"backbone.options.scoring={scoring}: must be one of {', '.join(get_args(Scoring))}.")
        if pretrained and trunk is None:
            raise ConfigError("backbone.pretrained: FSA-Net's own streams have no ImageNet weights; set it to false.")
        self.pyramid: nn.Module = Streams() if trunk is None else Trunk(trunk, pretrained, trunk_options)
        # of pixels of 0 to 1: (x - 127.5) / 128 as published
        own = {"mean": (0.5, 0.5, 0.5), "std": (128 / 255,) * 3}
        self.pretrained_cfg: dict[str, Any] = getattr(self.pyramid, "pretrained_cfg", None) or own
        places = SIDE * SIDE
        self.scoring = scoring
        if scoring == "1x1":
            self.score = nn.Conv2d(CHANNELS, 1, 1)
        if scoring != "uniform":
            self.groups = nn.Linear(places, GROUPS * STAGES * places)
            self.structures = nn.Linear(STAGES * places, STRUCTURES * GROUPS)
        self.capsules = Capsules(STAGES * (places if scoring == "uniform" else STRUCTURES), CHANNELS, STAGES, CAPSULE)

    def forward(self, image: Tensor) -> Tensor:
        maps: list[Tensor] = self.pyramid(image)
        # float32: sums of squares and of many products, which half precision does not hold
        with torch.autocast(image.device.type, enabled=False):
            features: Tensor = self.capsules(self._gathered([one.float() for one in maps]))
        return features.flatten(1)

    def _gathered(self, maps: list[Tensor]) -> Tensor:
        """(N, 64, 8, 8) of each stage to (N, I, 64): the features that are aggregated."""
        every = torch.cat([one.flatten(2) for one in maps], dim=2).mT
        if self.scoring == "uniform":
            return every
        scores = [self._scores(one) for one in maps]
        structures = torch.sigmoid(self.structures(torch.cat(scores, dim=1))).unflatten(1, (STRUCTURES, GROUPS))
        found = []
        for one in scores:
            groups = torch.sigmoid(self.groups(one)).unflatten(1, (GROUPS, every.shape[1]))
            # of positive numbers, so no row adds up to nothing
            found.append(F.normalize(structures @ groups, p=1, dim=2) @ every)
        return torch.cat(found, dim=1)

    def _scores(self, features: Tensor) -> Tensor:
        """(N, 64, 8, 8) to (N, 64): a score of each place."""
        if self.scoring == "1x1":
            return torch.sigmoid(self.score(features)).flatten(1)
        return (features - features.mean(dim=1, keepdim=True)).square().sum(dim=1).flatten(1)


class Streams(nn.Module):
    """The two streams: images to three maps (N, 64, 8, 8). Inputs of 64 pixels are the paper's, others are pooled."""

    widths = ((16, 32, 32), (64, 64), (128, 128))

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.ModuleList(self._stage(stage, activation, pool) for stage in range(STAGES))
            for activation, pool in ((nn.ReLU, nn.AvgPool2d), (nn.Tanh, nn.MaxPool2d))
        )
        self.fuse = nn.ModuleList(nn.Conv2d(widths[-1], CHANNELS, 1) for widths in self.widths)

    def _stage(self, stage: int, activation: type[nn.Module], pool: type[nn.Module]) -> nn.Sequential:
        before = 3 if stage == 0 else self.widths[stage - 1][-1]
        layers: list[nn.Module] = []
        for place, width in enumerate(self.widths[stage]):
            layers += [
                nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),
                nn.Conv2d(before, width, 1, bias=False),
                nn.BatchNorm2d(width),
                activation(),
            ]
            before = width
            last = place == len(self.widths[stage]) - 1
            if (stage == 0 and place == 0) or (last and stage < STAGES - 1):
                layers.append(pool(2))
        return nn.Sequential(*layers)

    def forward(self, image: Tensor) -> list[Tensor]:
        one, two, maps = image, image, []
        for first, second, fuse in zip(self.first, self.second, self.fuse, strict=True):
            one, two = first(one), second(two)
            maps.append(_of_one_size(fuse(one * two)))
        return maps


class Trunk(nn.Module):
    """A timm model's last three feature maps, each brought to 64 channels: images to three maps (N, 64, 8, 8)."""

    def __init__(self, name: str, pretrained: bool = False, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ConfigError(f"backbone.options.trunk={name}: timm has no such model; timm.list_models() lists them.")
        try:
            self.net = timm.create_model(
                name, pretrained, features_only=True, out_indices=(-3, -2, -1), **dict(options or {})
            )
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"backbone.options.trunk={name}: gives no three feature maps ({error}).") from error
        self.pretrained_cfg = dict(getattr(self.net, "pretrained_cfg", None) or {})
        info: Any = self.net.feature_info
        self.channels: list[int] = list(info.channels())
        self.fuse = nn.ModuleList(nn.Conv2d(count, CHANNELS, 1) for count in self.channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = []
        for one, count, fuse in zip(self.net(image), self.channels, self.fuse, strict=True):
            # some transformers have channels last
            maps.append(_of_one_size(fuse(one if one.shape[1] == count else one.permute(0, 3, 1, 2))))
        return maps


def _of_one_size(features: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(features, SIDE)


class Capsules(nn.Module):
    """(N, inputs, width) features to (N, capsules, size): routing by agreement."""

    def __init__(self, inputs: int, width: int, capsules: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(capsules, inputs, size, width))
        # sums of `width` products keep the features' size
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        votes = torch.einsum("jisw,niw->njis", self.weight, features)
        logits = torch.zeros_like(votes[..., 0])
        for rest in reversed(range(ROUNDS)):
            shares = logits.softmax(dim=1)
            said = _squashed((shares[..., None] * votes).sum(dim=2))
            if rest:
                logits = logits + (votes * said[:, :, None]).sum(dim=-1)
        return said


def _squashed(numbers: Tensor) -> Tensor:
    squared = numbers.square().sum(dim=-1, keepdim=True)
    # the root's derivative is infinite at 0
    return squared / (1 + squared) * numbers / (squared + 1e-9).sqrt()


@register_model
def fsanet(pretrained: bool = False, **options: Any) -> FSANet:
    """timm's way to it, by the name `fsanet`."""
    known = {
        key: value for key, value in options.items() if not key.startswith("pretrained_cfg") and key != "cache_dir"
    }
    if known.pop("num_classes", 0):
        raise ConfigError("backbone: fsanet has no classifier.")
    return FSANet(pretrained=pretrained, **known)
