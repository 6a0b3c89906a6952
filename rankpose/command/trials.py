"""Which models under which protocols does a command line ask for, and how is one of them tested?"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, arange, from_numpy, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from rankpose.command.configuration import build, told
from rankpose.command.help import choices
from rankpose.command.several import OF_PREDICTORS, SEVERAL
from rankpose.data.batches import Batch, PlainCrops, every_image
from rankpose.data.corruption import Corruption
from rankpose.data.crop_rules import CropRule, RankPoseCrop
from rankpose.data.record import Records
from rankpose.errors import ConfigError, RankPoseError
from rankpose.evaluation.names import check_folder_name, distinct_names
from rankpose.evaluation.protocol import Protocol
from rankpose.evaluation.scores import Evaluation, evaluate
from rankpose.evaluation.suspicions import suspicions
from rankpose.faces import FaceDetector
from rankpose.files import CONFIG_DIR, checkpoint_file
from rankpose.predictors import Onlooker, OnnxPredictor, Predictor, PythonPredictor, TablePredictor
from rankpose.predictors.onlookers import Faces, answers
from rankpose.run.directory import shown
from rankpose.run.keys import assignment, flat, literal
from rankpose.task import PoseScoring

log = logging.getLogger(__name__)

Model = Predictor | Onlooker | TablePredictor


class PlainCropData(pl.LightningDataModule):
    """Every image once, shared between the trainer's processes."""

    def __init__(self, crops: PlainCrops, batch_size: int, num_workers: int | None) -> None:
        super().__init__()
        self.crops, self.batch_size, self.num_workers = crops, batch_size, num_workers

    def test_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return every_image(self.crops, self.batch_size, self.num_workers, rank, processes)


def predict(
    config: DictConfig,
    predictor: Model,
    records: Records,
    protocol: Protocol,
    corruption: Corruption | None,
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Which of the records were tested, (N,), their poses, (N, 3) degrees, and the errors that the model expects, (N,)
    degrees, where it does; None in a test's other processes."""
    if isinstance(predictor, TablePredictor):
        if corruption is not None:
            raise ConfigError("predictor=table: predictions made elsewhere cannot be tested on corrupted images.")
        return arange(len(records)), predictor.predict(records), None
    if isinstance(predictor, Onlooker):
        if protocol.crop is not None:
            raise ConfigError("protocol.crop: this predictor is given whole pictures, and finds its crop itself.")
        faces = Faces([predictor], records, corruption=corruption, seed=protocol.seed)
        found = tqdm(answers(faces, num_workers=config.num_workers), "faces", len(faces), leave=False, disable=None)
        return arange(len(records)), from_numpy(np.array([one[0, :3] for one in found], np.float32)), None
    assert isinstance(predictor, nn.Module)
    crops = PlainCrops(records, protocol.crop or predictor.crop, predictor.size, corruption, protocol.seed)
    test = PoseScoring(predictor)
    trainer: pl.Trainer = build(config.trainer)
    trainer.test(test, datamodule=PlainCropData(crops, config.batch_size, config.num_workers), verbose=False)
    return (*test.tested(), test.expected()) if trainer.is_global_zero else None


def place_of(config: DictConfig, choice: str) -> str | None:
    """The file that a model is, where it is one."""
    place = {"checkpoint": config.checkpoint, "python": config.predictor.get("file")}.get(choice)
    place = place or config.predictor.get("table") or config.predictor.get("description")
    return place if isinstance(place, str) else None


def path_of(config: DictConfig, choice: str) -> tuple[str, tuple[str, ...]]:
    """What a model would be called alone, by its run's folder or its file, and its path: see `distinct_names`."""
    place = place_of(config, choice)
    if place is None:
        return choice, (choice,)
    # not through links, whose names the user chose
    path = Path(os.path.abspath(place)).with_suffix("")  # noqa: PTH100
    if path.parent.name != "checkpoints":
        return path.name, path.parts
    return path.parent.parent.name, (*path.parent.parent.parts, path.name)


def about_network(place: str, size: int, crop: CropRule) -> str:
    """Where a network comes from, and what it sees where the protocol does not say otherwise."""
    return f"{place}, {size} pixels, its own crop {crop}"


@dataclass(frozen=True)
class Trial:
    """One model under one protocol."""

    config: DictConfig
    choice: str
    """Of predictor."""
    model: str
    """What it is called in tables."""
    protocol: Protocol
    predictor: Model

    def __str__(self) -> str:
        return f"{self.model} under {self.protocol.name}"

    @property
    def about(self) -> str:
        """Where the model comes from, and what it sees where the protocol does not say otherwise."""
        place = place_of(self.config, self.choice)
        about = f"predictor {self.choice}" if place is None else place
        if self.choice == "checkpoint":
            about = f"checkpoint {shown(Path(self.config.checkpoint))}"
        if isinstance(self.predictor, TablePredictor):
            return about
        twice = ", and its mirror image" if getattr(self.predictor, "mirror", False) else ""
        return about_network(about, self.predictor.size, self.predictor.crop) + twice

    def evaluations(self, records: Records) -> list[Evaluation]:
        """On clean images, then on corrupted ones where the protocol asks for them.

        Where it asks for perspective, each is followed by the same with the poses in the camera's frame.
        """
        found = []
        for corruption in self.protocol.corruptions():
            tested = predict(self.config, self.predictor, records, self.protocol, corruption)
            if tested is None:
                continue
            rows, prediction, expected = tested
            found.append(self._scored(prediction, expected, records, rows, corruption))
            if self.protocol.perspective:
                turned = self.protocol.in_camera(prediction, records, self._crop, rows, corruption)
                found.append(self._scored(turned, expected, records, rows, corruption, in_camera=True))
        return found

    @property
    def _crop(self) -> CropRule:
        own = RankPoseCrop() if isinstance(self.predictor, TablePredictor) else self.predictor.crop
        return self.protocol.crop or own

    @property
    def _may_lack(self) -> bool:
        """Whether the model may say that it sees no face; else a pose that is no number is a fault."""
        if isinstance(self.predictor, OnnxPredictor):
            return self.predictor.description.presence is not None
        return isinstance(self.predictor, PythonPredictor) or not isinstance(self.predictor, nn.Module)

    def _scored(
        self,
        prediction: Tensor,
        expected: Tensor | None,
        records: Records,
        rows: Tensor,
        corruption: Corruption | None,
        in_camera: bool = False,
    ) -> Evaluation:
        model, about, protocol = self.model, self.about, self.protocol
        if in_camera:
            model += PERSPECTIVE
            about += ", its poses taken to the camera's frame"
            protocol = replace(protocol, changes=(*protocol.changes, "perspective=true"))
        kind, strength = (corruption.kind, corruption.strength) if corruption else (None, 0)
        doubts = []
        if corruption is None:
            target = from_numpy(records.pose)[rows]
            said = torch.isfinite(prediction).all(dim=1)
            doubts = [f"{model}: {doubt}." for doubt in suspicions(prediction[said], target[said], self.predictor.keys)]
        known = evaluate(
            prediction,
            records,
            protocol,
            self._crop,
            model=model,
            about=about,
            corruption=kind,
            strength=strength,
            rows=rows,
            remarks=doubts,
            expected=expected,
            may_lack=self._may_lack,
        )
        name = f"{model} under {self.protocol.name}"
        log.info("%s%s: MAE %.3f", name, f", {corruption}" if corruption else "", known.scores["mae"])
        told = [remark for remark in known.remarks if known.unanswered and remark.startswith(f"{model} gives no")]
        for doubt in (*told, *doubts):
            log.warning("%s", doubt)
        return known


PERSPECTIVE = "-perspective"
"""What stands behind a model's name where its poses were taken to the camera's frame."""


def make_test(config: DictConfig, choice: str, model: str, changes: Sequence[str] = ()) -> Trial:
    """Builds all that a test needs, so that what is wrong is told before the first of many runs."""
    if choice == "checkpoint" and config.checkpoint is None:
        raise ConfigError("checkpoint is not set: give checkpoint=RUN/checkpoints/best.ckpt, or another predictor=.")
    protocol: Protocol = replace(protocol_of(config), changes=tuple(changes))
    protocol.corruptions()
    check_folder_name("protocol.name", protocol.name)
    check_folder_name("name", model)
    return Trial(config, choice, model, protocol, build(config.predictor))


def protocol_of(config: DictConfig) -> Protocol:
    """The protocol of a configuration, with the detector that `protocol.boxes` names.

    Raises:
        ConfigError: no such detector, or none that finds anything by itself.
    """
    protocol: Protocol = build(config.protocol, boxes=_detector(config))
    return protocol


def _detector(config: DictConfig) -> FaceDetector | None:
    name = config.protocol.get("boxes")
    if name is None:
        return None
    known = [choice for choice in choices(Path(CONFIG_DIR), "detector") if choice != "boxes"]
    if name not in known:
        raise ConfigError(f"protocol.boxes={name}: must be one of {', '.join(known)}, or null.")
    part = OmegaConf.load(Path(CONFIG_DIR, "detector", f"{name}.yaml"))
    assert isinstance(part, DictConfig)
    if name in config.roots:
        part.model = literal(str(config.roots[name]))
        if not Path(str(config.roots[name])).is_file():
            raise ConfigError(
                f"roots.{name}={config.roots[name]}: no such file; protocol.boxes={name} needs its model."
            )
    detector: FaceDetector = build(part)
    return detector


def changes_of(config: DictConfig, choice: str) -> list[str]:
    """`KEY=VALUE` of what a protocol's configuration has otherwise than the file of this choice.

    Where the whole set is not the choice's any more, `expected` is taken out of the configuration.
    """
    whole, own = (plain_values(one.protocol) for one in (hydra.compose("evaluate", [f"protocol={choice}"]), config))
    if own["name"] != whole["name"] and Path(CONFIG_DIR, "protocol", f"{own['name']}.yaml").is_file():
        raise ConfigError(f"protocol.name={own['name']}: is the name of another protocol; give this one its own.")
    changed = [
        key
        for key in dict.fromkeys([*whole, *own])
        if key not in _NOT_WHAT_A_PROTOCOL_IS and not _same(whole.get(key), own.get(key))
    ]
    if "expected" not in changed and any(key.startswith(("reader.", "max_angle")) for key in changed):
        config.protocol.expected = None
    return [f"{key}={own.get(key)}" for key in changed]


def plain_values(protocol: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(protocol)
    assert isinstance(content, dict)
    return dict(flat(content))


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a key are alike; in which folder a file lies makes no difference."""
    return one == other or (isinstance(one, str) and isinstance(other, str) and Path(one).name == Path(other).name)


# perspective has figures of its own beside those of the protocol as it is
_NOT_WHAT_A_PROTOCOL_IS = (
    *("name", "title", "labels", "root", "packed", "strict", "corruption", "seed", "perspective", "cameras.labels"),
    "second_labels",
)


def tests_of(
    config: DictConfig, several: Mapping[str, Sequence[str]]
) -> tuple[list[Trial], list[tuple[str, RankPoseError]]]:
    """Every model under every protocol, and those that cannot be built with the reason, where others can.

    Args:
        config: with the first of several values.
        several: all values of `checkpoint`, `predictor`, `protocol` and `name`, as far as the command line has them,
            and of `table` and `description` of predictors where there are several of these.

    Raises:
        RankPoseError: anything that can be told before the first of them is run, but for what is wrong with one of
            several models or protocols.
    """
    chosen = HydraConfig.get().runtime.choices
    predictors = several.get("predictor", [chosen["predictor"]])
    protocols = several.get("protocol", [chosen["protocol"]])
    untold = (*SEVERAL, *(f"++several.{key}" for key in (*SEVERAL, *OF_PREDICTORS)))
    own = [one for one in told(HydraConfig.get()) if one.partition("=")[0] not in untold]
    _check_one_meant(own, protocols, predictors)
    models = _models(config, [*own, f"protocol={protocols[0]}"], predictors, several)
    configs = {
        (protocol, predictor, place): _composed(own, protocol, predictor, place)
        for protocol in protocols  # the order of the report
        for predictor, place in models
    }
    given = several.get("name", [] if config.name is None else [str(config.name)])
    names = dict(
        zip(
            models,
            _names([(configs[protocols[0], predictor, place], predictor) for predictor, place in models], given),
            strict=True,
        )
    )
    tests: list[Trial] = []
    failed: list[tuple[str, RankPoseError]] = []
    folders: dict[str, str] = {}
    for (protocol, predictor, place), one in configs.items():
        folder = str(one.protocol.name).casefold()
        if folders.setdefault(folder, protocol) != protocol:
            raise ConfigError(f"protocol={folders[folder]},{protocol}: both are called {folder} (protocol.name).")
        name = names[predictor, place]
        changes = changes_of(one, protocol)
        try:
            tests.append(make_test(one, predictor, name, changes))
        except RankPoseError as error:
            if len(configs) == 1:
                raise
            failed.append((f"{name} under {one.protocol.name}", error))
    return tests, failed


Named = tuple[str, tuple[str, str] | None]
"""A choice of `predictor`, and where several values of a key are given, key and value of this one."""


def _models(
    config: DictConfig, own: Sequence[str], predictors: Sequence[str], several: Mapping[str, Sequence[str]]
) -> list[Named]:
    """Every model that is asked for, in the order of the report; `own` are the other arguments."""
    models: list[Named] = []
    taken = set()
    for predictor in predictors:
        if predictor == "checkpoint":
            models += [(predictor, ("checkpoint", one)) for one in several.get("checkpoint", [config.checkpoint])]
            continue
        keys = hydra.compose("evaluate", [*own, f"predictor={predictor}"]).predictor.keys()
        key = next((one for one in OF_PREDICTORS if one in several and one in keys), None)
        taken.add(key)
        places = [None] if key is None else [(f"predictor.{key}", one) for one in several[key]]
        models += [(predictor, place) for place in places]
    for key in OF_PREDICTORS:
        if key in several and key not in taken:
            raise ConfigError(
                f"predictor.{key}={','.join(several[key])}: none of {', '.join(predictors)} has this key; "
                f"predictor={_WHOSE[key]} has."
            )
    return models


_WHOSE = {"table": "table", "description": "onnx"}


def _composed(own: Sequence[str], protocol: str, predictor: str, place: tuple[str, Any] | None) -> DictConfig:
    key, value = ("checkpoint", None) if place is None else place
    given = [assignment(key, str(value))] if key.startswith("predictor.") else []
    config = hydra.compose("evaluate", [*own, f"protocol={protocol}", f"predictor={predictor}", *given])
    checkpoint = value if key == "checkpoint" else None
    config.checkpoint = None if checkpoint is None else literal(str(checkpoint_file(str(checkpoint))))
    return config


def _names(models: Sequence[tuple[DictConfig, str]], given: Sequence[str]) -> list[str]:
    """What models are called: as `name` says, else as tells them apart."""
    paths = [path_of(*model) for model in models]
    twice = next((number for number, path in enumerate(paths) if path in paths[:number]), None)
    if twice is not None:
        config, choice = models[twice]
        raise ConfigError(f"predictor={choice}: {place_of(config, choice)} is named twice.")
    automatic = distinct_names(paths)
    if not given:
        return automatic
    if len(given) != len(models):
        raise ConfigError(f"name={','.join(given)}: {len(given)} for {len(models)} models: {', '.join(automatic)}.")
    if distinct_names([(name, (name,)) for name in given]) != given:
        raise ConfigError(f"name={','.join(given)}: must be names of folders, no two alike.")
    return list(given)


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
