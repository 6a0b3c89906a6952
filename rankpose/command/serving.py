"""From a configuration to a page that is served until somebody ends it."""

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from rankpose.command.configuration import build, check_own_keys
from rankpose.errors import ConfigError
from rankpose.predictors.load import Estimator, predictor_of

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks its own server whether it is there


def serve(config: DictConfig, model: str) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: a port or a size that cannot be.
        CheckpointError: no such model.
    """
    check_own_keys(config, "demo")
    if not 1 <= int(config.port) <= 65535:
        raise ConfigError(f"port={config.port}: must be between 1 and 65535.")
    if not config.max_mb > 0:
        raise ConfigError(f"max_mb={config.max_mb}: must be above 0.")
    estimator = Estimator(predictor_of(model, config.device), build(config.detector))
    with tempfile.TemporaryDirectory(prefix="rankpose_demo_") as folder:
        # read when Gradio is imported: where uploads lie, and that nothing is reported to its makers
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from rankpose.answers.web_page import LOOK, web_page

        page = web_page(estimator, model, Path(folder))
        try:
            _, address, shared = page.launch(
                server_name=str(config.host),
                server_port=int(config.port),
                share=bool(config.share),
                inbrowser=bool(config.open),
                max_file_size=f"{float(config.max_mb):g}mb",
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                **LOOK,
            )
        except OSError as error:
            raise ConfigError(
                f"host={config.host}, port={config.port}: cannot be served there ({error}); another program may have "
                "that port: give another."
            ) from error
        log.info("%s   (Ctrl-C ends it)", shared or address)
        # else SIGTERM would leave the folder behind
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)
