"""Head pose from pairs of images of the same person.

The names below are those that a notebook needs; each is imported when it is first asked for, so that `import rankpose`
itself takes no time.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "CropDataset": "rankpose.data.batches",
    "Estimator": "rankpose.predictors.load",
    "IdentitySampler": "rankpose.data.identity_sampler",
    "PoseDataModule": "rankpose.data.datamodule",
    "PoseNet": "rankpose.models",
    "PoseOutput": "rankpose.pose",
    "PoseTask": "rankpose.task",
    "RankMSE": "rankpose.losses",
    "Records": "rankpose.data.record",
    "build_backbone": "rankpose.models",
    "euler_to_rotmat": "rankpose.pose",
    "geodesic_error": "rankpose.metrics",
    "list_models": "rankpose.models.shipped",
    "load": "rankpose.predictors.load",
    "load_net": "rankpose.models.checkpoint",
    "rank_loss": "rankpose.losses",
    "read_300w_lp": "rankpose.data.readers.w300lp",
    "read_aflw2000": "rankpose.data.readers.aflw2000",
    "read_biwi": "rankpose.data.readers.biwi",
    "rotmat_to_euler": "rankpose.pose",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
