"""How does one sweep hold several products of choices? A Hydra sweeper for studies, chosen with `hydra/sweeper=grids`.

Hydra's own sweeper takes one product of all swept keys. A study has parts that share no axis: a weight for the losses
that rank, noise for some configurations only. Here each part is a product of its own, and all of them are one sweep.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rankpose.command.hydra_private import product
from rankpose.errors import ConfigError
from rankpose.sweep import hydra_plugin

Grid = Mapping[str, str | float | None]
"""Keys to values as on a command line: `loss` to `mse,rank_mse`; None is null."""


class GridSweeper(Sweeper):
    """Sweeps over the products of each part, one after the other; a run's folder is `PART/NUMBER` in the sweep's.

    Args:
        parts: the products of each part, by its name.
        params: what all of them sweep beside their own; the command line comes on top of both.
        only: names of the parts to run; None runs all.
        max_batch_size: most runs handed to the launcher at once; None hands over all.

    Raises:
        ConfigError: no parts, no such part, or batches of no run.
    """

    def __init__(
        self,
        parts: Mapping[str, Sequence[Grid]],
        params: Grid | None = None,
        only: Sequence[str] | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        if not parts:
            raise ConfigError("hydra.sweeper.parts: holds nothing to sweep; choose an experiment that fills it.")
        wanted = list(parts) if only is None else list(only)
        unknown = [part for part in wanted if part not in parts]
        if unknown:
            raise ConfigError(f"hydra.sweeper.only: no part {unknown[0]}; there are {', '.join(parts)}.")
        if max_batch_size is not None and max_batch_size < 1:
            raise ConfigError(f"hydra.sweeper.max_batch_size={max_batch_size}: must be at least 1, or null.")
        self.parts = {part: [{**(params or {}), **grid} for grid in parts[part]] for part in wanted}
        self.max_batch_size = max_batch_size
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launches all runs; `arguments` are the command line's."""
        assert self.launcher is not None
        runs = self.runs(self._parsed(arguments))
        returns: list[Sequence[JobReturn]] = []
        size = self.max_batch_size or max(1, len(runs))
        for begun in range(0, len(runs), size):
            batch = runs[begun : begun + size]
            self.validate_batch_is_legal(batch)
            returns.append(self.launcher.launch(batch, initial_job_idx=begun))
            for one in returns[-1]:
                _ = one.return_value  # raises what ended the run
        return returns

    def runs(self, overrides: list[Override]) -> list[list[str]]:
        """The overrides of every run; those given are of the command line."""
        runs: list[list[str]] = []
        for part, grids in self.parts.items():
            of_part: list[list[str]] = []
            for grid in grids:
                own = self._parsed([f"{key}={'null' if value is None else value}" for key, value in grid.items()])
                of_part += product([*own, *overrides])
            runs += [[*run, f"hydra.sweep.subdir={part}/{number}"] for number, run in enumerate(of_part)]
        return runs

    def _parsed(self, overrides: list[str]) -> list[Override]:
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed: list[Any] = parser.parse_overrides(overrides)
        return parsed


def register() -> None:
    """Makes the sweeper known to Hydra."""
    hydra_plugin.register(GridSweeper)
