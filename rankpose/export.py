"""Writes a network for others, as an ONNX file or its weights: `python -m rankpose.export checkpoint=FILE out=FILE`."""

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rankpose.command.configuration import entry_point, quiet_libraries
from rankpose.errors import ConfigError, one_line_errors
from rankpose.files import checkpoint_file
from rankpose.run.directory import shown

log = logging.getLogger(__name__)


@entry_point("export")
@one_line_errors
def main(config: DictConfig) -> None:
    """Checkpoint, network, file."""
    if OmegaConf.is_missing(config, "checkpoint"):
        raise ConfigError("checkpoint is not set: give checkpoint=RUN/checkpoints/best.ckpt.")
    checkpoint = Path(str(config.checkpoint))
    checkpoint_file(checkpoint)
    from rankpose.models.checkpoint import load_net, write_weights  # torch: only once the command line is understood
    from rankpose.predictors.export import export_onnx

    quiet_libraries()
    net, made_from = load_net(checkpoint)
    out = Path(str(config.out or checkpoint.with_suffix(".onnx")))
    if out.suffix == ".safetensors":
        write_weights(net, made_from, out)
        log.info("%s: %.1f MB of weights in half precision", shown(out), out.stat().st_size / 1e6)
        return
    difference = export_onnx(net, made_from, out)
    log.info("%s: poses within %.1e degrees of the network's", shown(out), difference)
    log.info("description: %s", shown(out.with_suffix(".yaml")))


if __name__ == "__main__":
    main()
