"""Trains a head-pose network and tests it on people it has never seen: `python -m rankpose.train`."""

from pathlib import Path

from omegaconf import DictConfig

from rankpose.command.configuration import entry_point, stopped_by
from rankpose.command.places import check_data_there
from rankpose.command.repeat import with_recorded_overrides
from rankpose.command.several import with_lists
from rankpose.errors import one_line_errors
from rankpose.run.stopping import stoppable
from rankpose.sweep import grids, ray_launcher
from rankpose.sweep import runs as sweeps

grids.register()
ray_launcher.register()


@sweeps.reported
@entry_point("train", with_lists, with_recorded_overrides)
@one_line_errors
@sweeps.recorded
def main(config: DictConfig) -> float | None:
    """Gives the best validation MAE, which a search makes small."""
    check_data_there(config)
    with stoppable(Path(str(config.run_dir)), **stopped_by(config)):  # the imports may take half a minute
        from rankpose.command.training import train  # torch and Lightning: only once the command line is understood
    return train(config)


if __name__ == "__main__":
    main()
