"""Tests a checkpoint under a named protocol: `python -m rankpose.evaluate checkpoint=FILE protocol=aflw2000`."""

from pathlib import Path

import hydra
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from rankpose.checkpoint import load_net
from rankpose.configuration import CONFIG_DIR, build, quiet_libraries
from rankpose.data.batches import every_image
from rankpose.errors import ConfigError, one_line_errors
from rankpose.protocol import Protocol
from rankpose.results import leave_results, prediction_table
from rankpose.run_directory import shown
from rankpose.task import PoseTest


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="evaluate")
@one_line_errors
def main(config: DictConfig) -> None:
    """Network, test set, test, tables."""
    quiet_libraries()
    if OmegaConf.is_missing(config, "checkpoint"):
        raise ConfigError("checkpoint is not set: give checkpoint=RUN/checkpoints/best.ckpt.")
    protocol: Protocol = build(config.protocol)
    checkpoint = Path(config.checkpoint)
    net, made_from = load_net(checkpoint)
    records = protocol.records()
    loader = every_image(
        records, made_from["image_size"], made_from["test_scale"], config.batch_size, config.num_workers
    )
    test = PoseTest(net)
    trainer: pl.Trainer = build(config.trainer)
    (scores,) = trainer.test(test, loader, verbose=False)

    default = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    out = Path(config.out or default / "evaluation" / protocol.name)
    leave_results(
        out,
        prediction_table(test.test_table, records, made_from["test_scale"]),
        scores,
        title=f"RankPose under protocol {protocol.name}",
        subtitle=f"{protocol.title}. {records.summary()}",
        config_text=OmegaConf.to_yaml(config, resolve=True),
        notes=[f"Checkpoint: {shown(checkpoint)}", *protocol.remarks(records)],
    )


if __name__ == "__main__":
    main()
