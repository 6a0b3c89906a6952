"""What does W&B get of what networks know and where they look? Apart from `to_wandb`: it needs the extra `probe`."""

from typing import Any

import pandas as pd
import wandb

from rankpose.probing.features import POOLED
from rankpose.probing.study import Study
from rankpose.report.probes_page import map_images


def log_study(run: Any, study: Study) -> None:
    """Sends what `rankpose.probe` found: tables of probes, of changes and of maps' shares, and the maps as pictures.

    Args:
        run: of W&B.
        study: that was made.
    """
    content: dict[str, Any] = {}
    probed = [
        {"network": name, "place": place, "factor": factor, "score": one.value, "low": one.low, "high": one.high}
        for name, places in (study.scores | {name: {POOLED: found} for name, found in study.floors.items()}).items()
        for place, found in places.items()
        for factor, one in found.items()
    ]
    moved = [
        {"network": name, "factor": factor, "features": one.features.value, "pose_deg": one.pose_deg.value}
        for name, found in study.moved.items()
        for factor, one in found.items()
    ]
    for name, rows in (("probes", probed), ("moved", moved)):
        if rows:
            content[f"probe/{name}"] = wandb.Table(dataframe=pd.DataFrame(rows))
    for name, picture in map_images(study).items():
        content[f"probe/maps/{name}"] = wandb.Image(picture)
    run.log(content)
