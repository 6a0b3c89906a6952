"""How do the runs of a sweep come to a Ray cluster? A Hydra launcher, chosen with `hydra/launcher=ray`.

Written here because hydra-ray-launcher fixes versions of boto3 and Ray that exclude those of other packages.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from rankpose.errors import ConfigError, first_line
from rankpose.files import write_whole
from rankpose.run import outcome
from rankpose.run.outcome import Outcome
from rankpose.sweep import hydra_plugin


class RayLauncher(Launcher):
    """Hands the runs of a sweep to Ray, each as soon as the cluster has room for it.

    Args:
        address: of a cluster, such as `auto` on one of its machines or `ray://HOST:10001`; None starts one here for
            the time of the sweep.
        cpus_per_run, gpus_per_run: what a run takes; a share of a GPU is allowed.
        runtime_env: Ray's, for a cluster whose machines lack packages or files; the folders of data and runs must be
            there under the same paths.
        object_store_gb: memory for Ray's object store, of a cluster started here; runs hardly use it.

    Raises:
        ConfigError: no such cluster, or none of its machines has what a run takes.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus_per_run: float = 1,
        gpus_per_run: float = 0,
        runtime_env: Mapping[str, Any] | None = None,
        object_store_gb: float = 0.1,
    ) -> None:
        self.address, self.cpus_per_run, self.gpus_per_run = address, cpus_per_run, gpus_per_run
        self.runtime_env = OmegaConf.to_container(runtime_env) if OmegaConf.is_config(runtime_env) else runtime_env
        self.object_store_gb = object_store_gb
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        sweep = Path(str(self.config.hydra.sweep.dir))
        sweep.mkdir(parents=True, exist_ok=True)
        # read when Ray is imported
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        settings: dict[str, Any] = {"runtime_env": self.runtime_env, "logging_level": logging.ERROR}
        if self.address is None:
            settings |= {"include_dashboard": False, "object_store_memory": int(self.object_store_gb * 2**30)}
        try:
            ray.init(self.address or "local", **settings)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(f"hydra.launcher.address={self.address}: {first_line(error)}") from error
        try:
            self._check_room(ray.nodes())
            job = ray.remote(_run).options(num_cpus=self.cpus_per_run, num_gpus=self.gpus_per_run, max_retries=0)
            shared = ray.put((self.hydra_context, self.config, self.task_function, Singleton.get_state(), Path.cwd()))
            numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
            waiting = [
                job.remote(number, list(overrides), shared)
                for number, overrides in zip(numbers, job_overrides, strict=True)
            ]
            returns = []
            for number, overrides, one in zip(numbers, job_overrides, waiting, strict=True):
                try:
                    returned = ray.get(one)
                except ray.exceptions.RayError as error:
                    returned = _lost(sweep, number, overrides, f"{type(error).__name__}: {first_line(error)}")
                if isinstance(returned, int):
                    raise SystemExit(returned)
                returns.append(returned)
            return returns
        finally:
            ray.shutdown()

    def _check_room(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        for key, resource, wanted in (
            ("cpus_per_run", "CPU", self.cpus_per_run),
            ("gpus_per_run", "GPU", self.gpus_per_run),
        ):
            most = max(node["Resources"].get(resource, 0) for node in nodes)
            if wanted > most:
                raise ConfigError(f"hydra.launcher.{key}={wanted:g}: no machine of the cluster has more than {most:g}.")


def _run(number: int, overrides: list[str], shared: tuple[Any, ...]) -> JobReturn | int:
    """A run, in a process of Ray; the code with which it wants to end the sweep where it does."""
    context, config, task_function, state, folder = shared
    os.chdir(folder)
    Singleton.set_state(state)
    setup_globals()
    run_config = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(run_config):
        run_config.hydra.job.id = f"{run_config.hydra.job.name}_{number}"
        run_config.hydra.job.num = number
    HydraConfig.instance().set_config(run_config)
    try:
        return run_job(
            hydra_context=context,
            task_function=task_function,
            config=run_config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1


def _lost(sweep: Path, number: int, overrides: Sequence[str], reason: str) -> JobReturn:
    """A run whose process or machine died: it could not leave a note itself."""
    known = {run.number: (folder, run) for folder, run in outcome.of_sweep(sweep).items()}
    folder, run = known.get(number, (sweep / str(number), Outcome(number, list(filter_overrides(overrides)))))
    run.state, run.reason = "failed", reason
    write_whole(folder / outcome.FAILURE, f"{reason}\n")
    outcome.write(folder, run)
    returned = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
    returned.return_value = None
    return returned


def register() -> None:
    """Makes the launcher known to Hydra."""
    hydra_plugin.register(RayLauncher)
