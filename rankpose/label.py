"""Has models say the poses of pictures and films: `python -m rankpose.label data.root=DIR teacher=opentrack`."""

from pathlib import Path

from omegaconf import DictConfig

from rankpose.command.configuration import check_own_keys, entry_point
from rankpose.command.several import with_lists
from rankpose.errors import DatasetNotFoundError, one_line_errors


@entry_point("label", with_lists)
@one_line_errors
def main(config: DictConfig) -> None:
    """Faces, teachers, labels, page."""
    check_own_keys(config, "label")
    if not Path(str(config.data.root)).exists():
        raise DatasetNotFoundError(f"data.root={config.data.root}: no such folder, zip file or film.")
    from rankpose.command.labelling import label  # torch: only once the command line is understood

    label(config)


if __name__ == "__main__":
    main()
