"""From a configuration to what networks know and where they look: what `python -m rankpose.probe` does."""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf, open_dict

from rankpose.command.configuration import build, quiet_libraries
from rankpose.command.trials import path_of
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.record import Records
from rankpose.data.synthetic.rendering import read_factors
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.names import distinct_names
from rankpose.faces import FaceDetector
from rankpose.faces.kinds import PICTURES
from rankpose.faces.pictures import open_picture
from rankpose.files import checkpoint_file, json_text, write_whole
from rankpose.probing.study import Network, Settings, Study, study_of, study_of_pictures
from rankpose.report.probes_page import map_pictures, probes_page
from rankpose.run.directory import check_writable, shown
from rankpose.run.keys import literal

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")


def probe_all(config: DictConfig) -> None:
    """Measures what a configuration describes, and leaves page, figures and maps.

    Raises:
        RankPoseError: a mistake, told before anything is measured where that can be.
    """
    quiet_libraries()
    with open_dict(config):
        several: Any = OmegaConf.to_container(config.pop("several", OmegaConf.create()), resolve=True)
    out = Path(str(config.out)) if config.out else Path("probes", datetime.now().strftime("%Y-%m-%d/%H-%M-%S"))
    check_writable(out)
    settings = Settings(
        folds=config.folds,
        pairs=config.pairs,
        heads=config.heads,
        resamples=config.resamples,
        floors=tuple(config.floors or ()),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        seed=config.seed,
    )
    networks = _networks(config, several)
    study = _of_pictures(config, networks, settings) if config.images else _of_data(config, networks, settings)
    write_whole(out / "probes.json", json_text(study.as_plain()))
    for name, picture in map_pictures(study).items():
        write_whole(out / "maps" / f"{name}.png", picture)
    page = out / "report.html"
    write_whole(page, probes_page(study))
    for note in study.notes:
        log.info("%s", note)
    log.info("report: %s", shown(page))
    if config.wandb:
        _send(study, out)


def _networks(config: DictConfig, several: dict[str, list[str]]) -> list[Network]:
    checkpoints = [str(one) for one in several.get("checkpoint", [config.checkpoint])]
    files = [checkpoint_file(one) for one in checkpoints]
    paths = []
    for file in files:
        own = OmegaConf.create({"checkpoint": literal(str(file)), "predictor": {}})
        paths.append(path_of(own, "checkpoint"))
    names = several.get("name", [] if config.name is None else [str(config.name)]) or distinct_names(paths)
    if len(names) != len(files) or len(set(names)) != len(names):
        raise ConfigError(f"name={','.join(names)}: must be {len(files)} names, no two alike.")
    return [Network.of(name, file, config.device) for name, file in zip(names, files, strict=True)]


def _records(config: DictConfig) -> Records:
    if config.part not in PARTS:
        raise ConfigError(f"part={config.part}: must be one of {', '.join(PARTS)}.")
    if "sources" in config.data:
        raise ConfigError("data=mixture: name one of its sources (data=synthetic, data=photographs, ...).")
    module: PoseDataModule = build(config.data)
    records = module.read() if module.split is None else module.records(config.part)
    if not len(records):
        raise DatasetError(f"part={config.part}: {records.dataset} has no image there.")
    return records


def _of_data(config: DictConfig, networks: Sequence[Network], settings: Settings) -> Study:
    records = _records(config)
    log.info("%s", records.summary())
    return study_of(networks, records, read_factors(str(config.data.root), records.names), settings)


def _of_pictures(config: DictConfig, networks: Sequence[Network], settings: Settings) -> Study:
    """The surest face of each picture, or all of a single one."""
    place = Path(str(config.images))
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.suffix.lower() in PICTURES)
    if not files:
        raise DatasetError(f"images={place}: holds no pictures.")
    detector: FaceDetector = build(config.detector)
    faces: list[tuple[np.ndarray, np.ndarray]] = []
    for file in files:
        if len(faces) >= settings.heads:
            log.info("heads=%d: the first %d faces are looked at", settings.heads, len(faces))
            break
        try:
            image = open_picture(file).image
        except DatasetError as error:
            log.warning("%s", error)
            continue
        found = detector(image)
        faces += [(image, detector.to_face_box(face.box)) for face in (found if len(files) == 1 else found[:1])]
    if not faces:
        raise DatasetError(f"images={place}: no face was found in {len(files):,} pictures; try another detector=.")
    return study_of_pictures(
        networks, faces, f"{place.name}: {len(faces):,} faces of {len(files):,} pictures", settings
    )


def _send(study: Study, out: Path) -> None:
    from rankpose.report.study_to_wandb import log_study  # only where it is asked for: importing wandb takes a second
    from rankpose.run.loggers import wandb_logger

    logger = wandb_logger(save_dir=str(out))
    log_study(logger.experiment, study)
    logger.experiment.finish()
