"""What do features know, and where do they look? `python -m rankpose.probe checkpoint=A,B data=synthetic`."""

from pathlib import Path

from omegaconf import DictConfig

from rankpose.command.configuration import check_own_keys, entry_point
from rankpose.command.several import with_several
from rankpose.errors import ConfigError, DatasetNotFoundError, one_line_errors
from rankpose.files import checkpoint_file
from rankpose.probing import check_extra


@entry_point("probe", with_several)
@one_line_errors
def main(config: DictConfig) -> None:
    """Networks, pictures, figures, page."""
    given = (config.get("several") or {}).get("checkpoint", [config.checkpoint])
    if None in given:
        raise ConfigError("checkpoint is not set: give checkpoint=RUN, or several with commas.")
    for checkpoint in given:
        checkpoint_file(str(checkpoint))
    if config.images is not None and not Path(str(config.images)).exists():
        raise DatasetNotFoundError(f"images={config.images}: no such folder or picture.")
    check_own_keys(config, "probe")
    check_extra()
    from rankpose.command.probing import probe_all  # torch: only once the command line is understood

    probe_all(config)


if __name__ == "__main__":
    main()
