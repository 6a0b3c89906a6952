"""Tests models under named protocols: `python -m rankpose.evaluate checkpoint=A,B protocol=aflw2000,biwi_fsanet`."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from rankpose.configuration import build, check_own_keys, entry_point, quiet_libraries
from rankpose.data.batches import Batch, TestCrops, every_image
from rankpose.data.corruption import Corruption
from rankpose.data.crop_rules import CropRule, RankPoseCrop
from rankpose.data.record import Records
from rankpose.errors import ConfigError, one_line_errors
from rankpose.evaluation import Evaluation, ModelDifference, differences, evaluate
from rankpose.predictors import Predictor, TablePredictor
from rankpose.protocol import Protocol
from rankpose.report.evaluation import write_evaluation_report
from rankpose.run_directory import shown
from rankpose.task import PoseTest

log = logging.getLogger(__name__)

SEVERAL = ("checkpoint", "predictor", "protocol")
"""Keys that take more than one value, separated by commas."""


class TestData(pl.LightningDataModule):
    """Every image once, shared between the trainer's processes."""

    __test__ = False  # no test, whatever pytest thinks

    def __init__(self, crops: TestCrops, batch_size: int, num_workers: int | None) -> None:
        super().__init__()
        self.crops, self.batch_size, self.num_workers = crops, batch_size, num_workers

    def test_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return every_image(self.crops, self.batch_size, self.num_workers, rank, processes)


def predict(
    config: DictConfig,
    predictor: "Predictor | TablePredictor",
    records: Records,
    protocol: Protocol,
    corruption: Corruption | None,
) -> Tensor | None:
    """(N, 3) degrees for the records; None in the other processes of a distributed test."""
    if isinstance(predictor, TablePredictor):
        if corruption is not None:
            raise ConfigError("predictor=table: predictions made elsewhere cannot be tested on corrupted images.")
        return predictor.predict(records)
    assert isinstance(predictor, nn.Module)
    crops = TestCrops(records, protocol.crop or predictor.crop, predictor.size, corruption, protocol.seed)
    test = PoseTest(predictor)
    trainer: pl.Trainer = build(config.trainer)
    trainer.test(test, datamodule=TestData(crops, config.batch_size, config.num_workers), verbose=False)
    return test.test_table["prediction"] if trainer.is_global_zero else None


def named(config: DictConfig, choice: str, predictor: "Predictor | TablePredictor") -> tuple[str, str]:
    """What a model is called in tables, and where it comes from."""
    if choice == "checkpoint":
        checkpoint = Path(config.checkpoint).resolve()
        folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint
        name, about = folder.stem, f"checkpoint {shown(Path(config.checkpoint))}"
    else:
        place = config.predictor.get("table") or config.predictor.get("description")
        name = Path(place).stem if isinstance(place, str) else choice
        about = place if isinstance(place, str) else f"predictor {choice}"
    if not isinstance(predictor, TablePredictor):
        about += f", {type(predictor.crop).__name__} at {predictor.size} pixels"
    return config.name or name, about


@dataclass(frozen=True)
class Test:
    """One model under one protocol."""

    __test__ = False  # no test, whatever pytest thinks

    config: DictConfig
    choice: str
    """Of predictor."""
    protocol: Protocol
    predictor: "Predictor | TablePredictor"

    def evaluations(self, records: Records) -> list[Evaluation]:
        """On clean images, then on corrupted ones where the protocol asks for them."""
        name, about = named(self.config, self.choice, self.predictor)
        own = RankPoseCrop() if isinstance(self.predictor, TablePredictor) else self.predictor.crop
        crop: CropRule = self.protocol.crop or own
        found = []
        for corruption in self.protocol.corruptions():
            prediction = predict(self.config, self.predictor, records, self.protocol, corruption)
            if prediction is None:
                continue
            kind, strength = (corruption.kind, corruption.strength) if corruption else (None, 0)
            known = evaluate(
                prediction, records, self.protocol, crop, model=name, about=about, corruption=kind, strength=strength
            )
            under = f"{self.protocol.name}, {corruption}" if corruption else self.protocol.name
            log.info("%s under %s: MAE %.3f", name, under, known.scores["mae"])
            found.append(known)
        return found


def make_test(config: DictConfig, choice: str) -> Test:
    """Builds all that a test needs, so that what is wrong is told before the first of many runs."""
    if choice == "checkpoint" and config.checkpoint is None:
        raise ConfigError("checkpoint is not set: give checkpoint=RUN/checkpoints/best.ckpt, or another predictor=.")
    protocol: Protocol = build(config.protocol)
    protocol.corruptions()
    return Test(config, choice, protocol, build(config.predictor))


@dataclass(frozen=True)
class AfterTraining:
    """A protocol that a run is tested under once it is trained; its data are read before."""

    config: DictConfig
    protocol: Protocol
    records: Records

    def leave_report(self, checkpoint: Path) -> None:
        """What `python -m rankpose.evaluate checkpoint=CHECKPOINT protocol=NAME` does."""
        config = self.config.copy()
        config.checkpoint = str(checkpoint)
        test = make_test(config, "checkpoint")
        report([test], test.evaluations(self.records), _default_place([test]))


def after_training(protocols: Sequence[str], roots: Mapping[str, str], num_workers: int | None) -> list[AfterTraining]:
    """Reads the data of protocols, so that what is missing is told before hours of training.

    Args:
        protocols: choices of `protocol`.
        roots: where data sets lie, as the configuration's `roots`.
        num_workers: loader processes.

    Raises:
        RankPoseError: no such protocol, or data that are missing.
    """
    found = []
    for name in protocols:
        given = [f"++roots.{key}={path}" for key, path in roots.items()]
        try:
            config = hydra.compose("evaluate", [f"protocol={name}", *given])
        except MissingConfigException as error:
            raise ConfigError(f"protocols: no protocol {name}; there are {', '.join(error.options or [])}.") from error
        config.num_workers = num_workers
        protocol: Protocol = build(config.protocol)
        found.append(AfterTraining(config, protocol, protocol.records()))
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
    for test in tests if first_process else ():
        test.leave_report(checkpoint)


def several(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Takes the keys that may have several values out of a command line.

    Returns:
        the command line with the first value of each, and all values of each.
    """
    kept, values = [], {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in SEVERAL:
            given = [part.strip() for part in value.removeprefix("[").removesuffix("]").split(",") if part.strip()]
            if not given:
                raise ConfigError(f"{argument}: names nothing.")
            values[key] = given
            argument = f"{key}={given[0]}"
        kept.append(argument)
    return kept, values


def combinations_of(config: DictConfig) -> list[tuple[DictConfig, str]]:
    """The configuration of every model under every protocol, with the predictor's choice."""
    chosen = HydraConfig.get().runtime.choices
    predictors = _values.get("predictor", [chosen["predictor"]])
    protocols = _values.get("protocol", [chosen["protocol"]])
    checkpoints: Sequence[Any] = _values.get("checkpoint", [config.checkpoint])
    own = [given for given in HydraConfig.get().overrides.task if given.partition("=")[0] not in SEVERAL]
    models = [
        (predictor, checkpoint)
        for predictor in predictors
        for checkpoint in (checkpoints if predictor == "checkpoint" else [None])
    ]
    _check_one_meant(own, protocols, predictors)
    if config.name is not None and len(models) > 1:
        raise ConfigError(f"name={config.name}: is one name for {len(models)} models; leave it out.")
    found = []
    for protocol in protocols:
        for predictor, checkpoint in models:
            group = [f"protocol={protocol}", f"predictor={predictor}"]
            one = hydra.compose("evaluate", [*own, *group])
            one.checkpoint = checkpoint
            found.append((one, predictor))
    return found


def _check_one_meant(overrides: Sequence[str], protocols: Sequence[str], predictors: Sequence[str]) -> None:
    """Raises `ConfigError` where an override that one of several is meant by would change them all."""
    for chosen, meant in ((protocols, _OF_ONE_PROTOCOL), (predictors, _OF_ONE_PREDICTOR)):
        given = next((override for override in overrides if override.lstrip("+~").startswith(meant)), None)
        if given is not None and len(chosen) > 1:
            raise ConfigError(
                f"{given}: would change all of {', '.join(chosen)}. Name the folders of data with roots.*, and put "
                "anything else into a file of its own in conf/."
            )


_OF_ONE_PROTOCOL = ("protocol.root=", "protocol.name=", "protocol.packed=", "protocol.reader.")
_OF_ONE_PREDICTOR = ("predictor.",)
_command_line: list[str] = []
"""As the user gave it."""
_values: dict[str, list[str]] = {}
"""What the command line named of the keys in `SEVERAL`."""


@entry_point("evaluate")
@one_line_errors
def run(config: DictConfig) -> None:
    """Models, protocols, tests, report."""
    quiet_libraries()
    check_own_keys(config, "evaluate")
    sys.argv[1:] = _command_line  # what Lightning starts its other processes with
    tests = [make_test(*combination) for combination in combinations_of(config)]
    records: dict[str, Records] = {}
    for test in tests:  # all before the first test: data that are missing are told at once
        if test.protocol.name not in records:
            records[test.protocol.name] = test.protocol.records()
    evaluations = [found for test in tests for found in test.evaluations(records[test.protocol.name])]
    if not evaluations:  # another process of a distributed test reports
        return
    out = Path(config.out) if config.out else _default_place(tests)
    compared = report(tests, evaluations, out)
    if config.wandb:
        _send(evaluations, compared, out)


def report(tests: Sequence[Test], evaluations: Sequence[Evaluation], out: Path) -> list[ModelDifference]:
    """Writes the page and the tables; gives the models' differences."""
    compared = differences(evaluations)
    labels = {test.protocol.name: test.protocol.labels for test in tests if test.protocol.labels}
    notes = [f"Labels of {name}: {text}." for name, text in labels.items()]
    page = write_evaluation_report(
        out, evaluations, compared, notes=notes, config_text=OmegaConf.to_yaml(tests[0].config, resolve=True)
    )
    log.info("report: %s", shown(page))
    return compared


def _default_place(tests: Sequence[Test]) -> Path:
    first, *others = tests
    if others or first.choice != "checkpoint":
        return Path("evaluations", datetime.now().strftime("%Y-%m-%d/%H-%M-%S"))
    checkpoint = Path(first.config.checkpoint)
    run_dir = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    corruption = first.protocol.corruption
    return run_dir / "evaluation" / (first.protocol.name + (f"_{corruption}" if corruption else ""))


def _send(evaluations: Sequence[Evaluation], compared: Sequence[Any], out: Path) -> None:
    # only where it is asked for: importing wandb takes a second
    from rankpose.loggers import wandb_logger
    from rankpose.report.to_wandb import log_evaluation

    logger = wandb_logger(save_dir=str(out))
    log_evaluation(logger.experiment, evaluations, compared)
    logger.experiment.finish()


@one_line_errors
def main() -> None:
    """Takes several values apart before Hydra, which would take them for a sweep, sees the command line."""
    _command_line[:] = sys.argv[1:]
    arguments, values = several(_command_line)
    if not {"-m", "--multirun"} & set(arguments):
        _values.update(values)
        sys.argv[1:] = arguments
    run()


if __name__ == "__main__":
    main()
