"""How a network too large for one GPU is split over several: PyTorch's FSDP2, block by block."""

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from rankpose.errors import ConfigError
from rankpose.models.posenet import PoseNet

HALF = {"bf16-mixed": torch.bfloat16}
"""In what a block's weights travel and compute, by the trainer's precision; else in float32."""


def blocks(backbone: nn.Module) -> list[nn.Module]:
    """The repeated parts of a timm model: what stands in a list called `blocks`, as in vision transformers."""
    lists = (module for name, module in backbone.named_modules() if name.rpartition(".")[2] == "blocks")
    return [block for blocks in lists for block in blocks.children()]


def shard(net: PoseNet, mesh: DeviceMesh, precision: str) -> None:
    """Leaves each process its part of every weight; a block's weights are gathered where the block computes.

    Everything outside the blocks, so the embeddings, the last normalisation and the representation, is kept and
    gathered in float32, and so are all gradients summed. Does nothing to a network that is sharded already.

    Args:
        net: the same weights on every process.
        mesh: one dimension, over which is sharded, or two: copies times parts of a copy.
        precision: as the trainer names it.

    Raises:
        ConfigError: a backbone without blocks.
    """
    if isinstance(net, FSDPModule):
        return
    parts = blocks(net.backbone)
    if not parts:
        raise ConfigError(
            f"trainer=fsdp splits vision transformers and other networks made of blocks, {type(net.backbone).__name__} "
            "has none: take trainer=ddp."
        )
    net.to(memory_format=torch.contiguous_format)  # FSDP takes no other
    policy = MixedPrecisionPolicy(param_dtype=HALF.get(precision), reduce_dtype=torch.float32)
    for part in parts:
        fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(net, mesh=mesh)
