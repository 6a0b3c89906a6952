"""From a configuration to tests of models under protocols, and from these to their report."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import distributed

from rankpose.command.configuration import check_own_keys, quiet_libraries
from rankpose.command.trials import Trial, make_test, path_of, protocol_of, tests_of
from rankpose.data.crop_rules import CropRule
from rankpose.data.record import Records
from rankpose.errors import ConfigError, RankPoseError, user_error
from rankpose.evaluation.differences import ModelDifference, differences
from rankpose.evaluation.names import distinct_names
from rankpose.evaluation.protocol import Protocol
from rankpose.evaluation.scores import Evaluation
from rankpose.evaluation.stored import Failure
from rankpose.files import WEIGHTS_DIR
from rankpose.predictors import TablePredictor
from rankpose.report.results import write_results
from rankpose.run.directory import check_writable, shown
from rankpose.run.keys import assignment, literal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AfterTraining:
    """A protocol that a run is tested under once it is trained; its data are read before."""

    config: DictConfig
    protocol: Protocol
    records: Records

    def leave_report(self, checkpoint: Path) -> None:
        """What `python -m rankpose.evaluate checkpoint=CHECKPOINT protocol=NAME` does."""
        config = self.config.copy()
        config.checkpoint = literal(str(checkpoint))
        (model,) = distinct_names([path_of(config, "checkpoint")])
        test = make_test(config, "checkpoint", model)
        report([test], test.evaluations(self.records), _default_place([test]))


def after_training(
    protocols: Sequence[str], roots: Mapping[str, str], num_workers: int | None, crop: CropRule
) -> list[AfterTraining]:
    """Reads the data of protocols, so that what is missing is told before hours of training.

    Args:
        protocols: choices of `protocol`.
        roots: where data sets lie, as the configuration's `roots`.
        num_workers: loader processes.
        crop: what the network is to see.

    Raises:
        RankPoseError: no such protocol, or data that are missing.
    """
    found = []
    for name in protocols:
        given = [assignment(f"++roots.{key}", path) for key, path in roots.items()]
        try:
            config = hydra.compose("evaluate", [f"protocol={name}", *given])
        except MissingConfigException as error:
            raise ConfigError(f"protocols: no protocol {name}; there are {', '.join(error.options or [])}.") from error
        config.num_workers = num_workers
        protocol = protocol_of(config)
        records = protocol.records()
        protocol.check_reach(records, crop)
        found.append(AfterTraining(config, protocol, records))
    return found


def leave_reports(tests: Sequence[AfterTraining], checkpoint: Path, first_process: bool) -> None:
    """Tests a trained network in the first of the processes that trained it; all of them call this.

    Args:
        tests: as `after_training` gives them.
        checkpoint: of the network.
        first_process: whether this is it.
    """
    if tests and distributed.is_initialized():
        # metrics of the first process, which goes on alone, would wait for the others
        distributed.destroy_process_group()
    failures: list[Failure] = []
    for test in tests if first_process else ():
        with noting(failures, f"protocol {test.protocol.name}"):
            test.leave_report(checkpoint)
    tell(failures, len(tests))


@contextmanager
def noting(failures: list[Failure], what: str) -> Iterator[None]:
    """Keeps what goes wrong inside for later, so that what does not is not lost with it."""
    try:
        yield
    except Exception as error:
        mistake = user_error(error)
        if mistake is None:
            log.exception("%s failed", what)
        failures.append(Failure(what, str(mistake or f"{type(error).__name__}: {error}").strip()))
        log.warning("failed: %s", failures[-1])


def tell(failures: Sequence[Failure], asked: int) -> None:
    """Raises `RankPoseError` where something failed of what was asked for."""
    if failures:
        said = " ".join(" ".join(map(str, failures)).split())
        raise RankPoseError(said if asked == 1 else f"{len(failures)} of {asked} tests failed: {said}")


def report(
    tests: Sequence[Trial], evaluations: Sequence[Evaluation], out: Path, failures: list[Failure] | None = None
) -> list[ModelDifference]:
    """Writes the page and the tables; gives the models' differences.

    Args:
        tests: that were asked for.
        evaluations: what came of them.
        out: the folder.
        failures: what came of the others; where models cannot be compared, this is added.
    """
    failures = [] if failures is None else failures
    compared: list[ModelDifference] = []
    with noting(failures, "the comparison of models"):
        compared = differences(evaluations)
    labels = {test.protocol.name: test.protocol.labels for test in tests if test.protocol.labels}
    notes = [f"Labels of {name}: {text}." for name, text in labels.items()]
    page = write_results(
        out,
        evaluations,
        compared,
        notes=notes,
        config_text=OmegaConf.to_yaml(tests[0].config, resolve=True),
        failures=failures,
    )
    log.info("report: %s", shown(page))
    return compared


def _default_place(tests: Sequence[Trial]) -> Path:
    first, *others = tests
    shipped = first.choice == "checkpoint" and Path(first.config.checkpoint).parent == WEIGHTS_DIR
    if others or shipped or first.choice != "checkpoint":
        return Path("evaluations", datetime.now().strftime("%Y-%m-%d/%H-%M-%S"))
    checkpoint = Path(first.config.checkpoint)
    run_dir = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    corruption = first.protocol.corruption
    return run_dir / "evaluation" / (first.protocol.name + (f"_{corruption}" if corruption else ""))


def _send(evaluations: Sequence[Evaluation], compared: Sequence[Any], out: Path) -> None:
    # only where it is asked for: importing wandb takes a second
    from rankpose.report.to_wandb import log_evaluation
    from rankpose.run.loggers import wandb_logger

    logger = wandb_logger(save_dir=str(out))
    log_evaluation(logger.experiment, evaluations, compared)
    logger.experiment.finish()


def evaluate_all(config: DictConfig) -> None:
    """Tests what a configuration describes, and leaves the report.

    Raises:
        RankPoseError: a mistake, told before the first test, or what failed, told after the last.
    """
    quiet_libraries()
    with open_dict(config):
        several: Any = OmegaConf.to_container(config.pop("several", OmegaConf.create()), resolve=True)
    check_own_keys(config, "evaluate")
    given = {key: [str(value) for value in values] for key, values in several.items()}
    tests, failed = tests_of(config, given)
    asked = len(tests) + len(failed)
    failures: list[Failure] = []
    for what, error in failed:
        with noting(failures, what):
            raise error
    if not tests:
        tell(failures, asked)
    out = Path(str(config.out)) if config.out else _default_place(tests)
    check_writable(out)
    tests, records = _with_data(tests, failures, alone=asked == 1)
    evaluations: list[Evaluation] = []
    for test in tests:
        with noting(failures, str(test)):
            evaluations += test.evaluations(records[test.protocol.name])
    if evaluations:  # otherwise another process of a distributed test reports
        compared = report(tests, evaluations, out, failures)
        if config.wandb:
            _send(evaluations, compared, out)
    tell(failures, asked)


def _with_data(tests: Sequence[Trial], failures: list[Failure], alone: bool) -> tuple[list[Trial], dict[str, Records]]:
    """The tests whose data are there, and these, read before the first test: what is missing is told at once.

    Args:
        tests: that were built.
        failures: what is wrong with the others is added.
        alone: raise it instead.
    """
    records: dict[str, Records] = {}
    broken: dict[str, Exception] = {}
    found = []
    for test in tests:
        name = test.protocol.name
        with nullcontext() if alone else noting(failures, str(test)):
            if name in broken:
                raise broken[name]
            if name not in records:
                try:
                    records[name] = test.protocol.records()
                except Exception as error:
                    broken[name] = error
                    raise
            if not isinstance(test.predictor, TablePredictor):
                test.protocol.check_reach(records[name], test.predictor.crop)
            found.append(test)
    return found, records
