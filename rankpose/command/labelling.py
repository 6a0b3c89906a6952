"""From a configuration to a table of poses that models said: what `python -m rankpose.label` does."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from rankpose.command.configuration import build, quiet_libraries
from rankpose.data.images import size_and_time
from rankpose.data.readers.photographs import read_faces
from rankpose.data.record import Records
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.names import distinct_names
from rankpose.files import CONFIG_DIR, checkpoint_file, shipped_models, write_whole
from rankpose.predictors.onlookers import Faces, Onlooker, answers, onlooker
from rankpose.predictors.teachers import Agreement, counts
from rankpose.report.labels_page import labels_page
from rankpose.run.directory import shown
from rankpose.run.keys import assignment, literal, typed

log = logging.getLogger(__name__)


def label(config: DictConfig) -> None:
    """Asks the teachers of every face, and leaves the table and its page.

    Raises:
        RankPoseError: a mistake, told before the first face.
    """
    quiet_libraries()
    root = Path(str(config.data.root))
    out = _place(root, config)
    agreement = Agreement(config.agree_deg, config.min_presence)
    names, teachers = _teachers(config)
    columns: Any = OmegaConf.to_container(config.data.columns)
    records = read_faces(root, config.data.table, columns, config.data.crop_scale)
    if config.data.identity is not None:
        records = records.identified(config.data.identity)
    log.info("%s", records.summary())
    faces = Faces(teachers, records, config.mirror)
    said = asked(faces, out.with_name(f"{out.name}.partial"), names, config.num_workers)
    labels = agreement.labels(said, names, records)
    found = counts(labels)
    if not found.get(""):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.items())
        raise DatasetError(f"{root}: no face has a label ({reasons}). Raise agree_deg, or take other teachers.")
    write_whole(out, labels.to_csv(index=False) if out.suffix == ".csv" else labels.to_parquet(index=False))
    page = out.with_suffix(".html")
    write_whole(page, labels_page(labels, records, names, agreement))
    out.with_name(f"{out.name}.partial").unlink(missing_ok=True)
    log.info("%s: %s of %s faces have a label", shown(out), f"{found['']:,}", f"{len(labels):,}")
    for reason, count in found.items():
        if reason:
            log.info("  left out %s: %s", f"{count:,}", reason)
    log.info("page: %s", shown(page))
    given = [typed("data.root", str(root)), typed("data.reader.table", str(out))]
    log.info("train on them: python -m rankpose.train data=photographs augment=photographs %s", " ".join(given))


def _place(root: Path, config: DictConfig) -> Path:
    """Where the table goes; raises `ConfigError` where one is already or its name says no format."""
    default = root / "poses.csv" if root.is_dir() else root.with_name(f"{root.stem}_poses.csv")
    out = Path(str(config.out)) if config.out else default
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out={out}: must end with .csv or .parquet.")
    if out.exists() and not config.overwrite:
        raise ConfigError(f"out={out}: is there already; overwrite=true replaces it, out=FILE takes another.")
    return out


def _teachers(config: DictConfig) -> tuple[list[str], list[Onlooker]]:
    """What the teachers are called, and they themselves."""
    wanted = [str(one) for one in ([config.teacher] if isinstance(config.teacher, str) else config.teacher)]
    if not wanted:
        raise ConfigError("teacher: names nobody.")
    files = sorted(Path(CONFIG_DIR, "predictor").glob("*.yaml"))
    models = [file.stem for file in files if file.stem not in ("checkpoint", "onnx", "table")]
    roots = [assignment(f"++roots.{key}", path) for key, path in config.roots.items()]
    named: list[tuple[str, tuple[str, ...]]] = []
    found: list[Onlooker] = []
    for one in wanted:
        path = Path(one)
        if one in models:
            content = hydra.compose("label", ["data.root=x", f"+predictor={one}", *roots]).predictor
            named.append((one, (one,)))
        elif path.suffix in (".yaml", ".yml"):
            content = OmegaConf.create({"_target_": "rankpose.predictors.onnx_predictor", "description": literal(one)})
            named.append((path.stem, path.absolute().with_suffix("").parts))
        elif path.exists() or one in shipped_models():
            file = checkpoint_file(path)
            content = OmegaConf.create(
                {"_target_": "rankpose.predictors.CheckpointPredictor", "checkpoint": literal(str(file))}
            )
            run = file.parent.parent if file.parent.name == "checkpoints" else file
            named.append((run.stem, file.absolute().with_suffix("").parts))
        else:
            known = ", ".join([*models, *shipped_models()])
            raise ConfigError(f"teacher={one}: is no run, checkpoint or description, and not one of {known}.")
        found.append(onlooker(build(content)))
    return distinct_names(named), found


def asked(faces: Faces, partial: Path, names: list[str], num_workers: int | None) -> np.ndarray:
    """What is said of every face; each answer goes into a file at once, from which a stopped run goes on.

    Args:
        faces: whom to ask about what.
        partial: the file; it has what a run before this one was told, where that asked the same.
        names: of the teachers.
        num_workers: as of `answers`.

    Returns:
        (N, M, 4), see `Faces`.
    """
    question = _fingerprint(faces.records, names, faces.mirror)
    known: dict[int, list[list[float]]] = {}
    if partial.is_file():
        first, *lines = partial.read_text(encoding="utf-8").splitlines()
        if first == question:
            # the last line may be cut off
            known = {row: said for row, said in (json.loads(line) for line in lines if line.endswith("]]]"))}
            log.info("going on after %s of %s faces", f"{len(known):,}", f"{len(faces):,}")
    rows = [row for row in range(len(faces)) if row not in known]
    partial.parent.mkdir(parents=True, exist_ok=True)
    write_whole(partial, "\n".join([question, *(json.dumps([row, said]) for row, said in known.items())]) + "\n")
    with partial.open("a", encoding="utf-8") as file:
        found = tqdm(answers(faces, rows, num_workers), "faces", len(faces), initial=len(known), disable=None)
        for row, said in zip(rows, found, strict=True):
            known[row] = said.tolist()
            file.write(json.dumps([row, known[row]]) + "\n")
            file.flush()
    return np.array([known[row] for row in range(len(faces))], np.float64)


def _fingerprint(records: Records, names: list[str], mirror: bool) -> str:
    """What answers are answers to: the same text for the same question."""
    pictures = [f"{image} {size_and_time(str(image))}" for image in np.asarray(records.images)]
    boxes = records.face_box.round(2).tolist()
    digest = hashlib.sha256(json.dumps([pictures, boxes]).encode()).hexdigest()
    return f"{names} {mirror} {digest}"
