"""What is asked of `rankpose.predict`: which files, which model, where answers go. Settled before torch is imported."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from omegaconf import DictConfig, OmegaConf

from rankpose.errors import ConfigError, DatasetError
from rankpose.faces.kinds import FILMS, PICTURES, files_in, is_film, spoken
from rankpose.files import shipped_models
from rankpose.run.directory import check_writable, shown

TABLE = "poses"
_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".webp")
"""Endings of pictures that are drawn in the format that they have."""


@dataclass(frozen=True)
class Asked:
    """All that a command line asks for."""

    model: str
    out: Path
    table: Path
    pictures: Sequence[tuple[str, Path]] = ()
    """What the table calls each, and its file."""
    films: Sequence[tuple[str, Path]] = ()
    camera: int | None = None
    boxes: Path | None = None
    """The table of boxes that was given instead of files."""
    drawn: dict[str, Path] = field(default_factory=dict)
    """Where each picture or film is written, by its name; nothing where none is to be drawn."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Endings of files in the folder that are neither pictures nor films."""


def model_asked_of(config: DictConfig) -> str:
    """The model that `checkpoint` names, or the first that comes with the package.

    Raises:
        ConfigError: none is named, and none comes.
    """
    model = config.checkpoint or next(iter(shipped_models()), None)
    if model is None:
        raise ConfigError("checkpoint is not set: give checkpoint=RUN, or an ONNX file with its description.")
    return str(model)


def asked_of(config: DictConfig) -> Asked:
    """What a configuration asks for.

    Raises:
        RankPoseError: an input that is not there or empty, an output that is there or cannot be: names key or file.
    """
    if OmegaConf.is_missing(config, "input") or config.input in (None, ""):
        raise ConfigError(
            "input is not set: python -m rankpose.predict INPUT, a picture, a folder, a film, the number of a camera "
            "or a table of boxes."
        )
    model = model_asked_of(config)
    given = str(config.input)
    _check_word(config, "format", ("csv", "parquet", "jsonl"))
    _check_word(config, "draw", ("axes", "cube", "none"))
    _check_numbers(config)
    path = Path(given)
    camera = int(given) if given.isascii() and given.isdigit() and not path.exists() else None
    name = f"camera{camera}" if camera is not None else (path.resolve() if path.name in ("", "..") else path).stem
    out = Path(str(config.out)) if config.out else Path(f"{name or 'all'}_poses")
    check_writable(out)
    table = out / f"{TABLE}.{config.format}"
    passed_over: Counter[str] = Counter()
    pictures: list[tuple[str, Path]] = []
    films: list[tuple[str, Path]] = []
    boxes = None
    if camera is not None:
        films = []
    elif path.is_dir():
        for found in files_in(path, out):
            kind = found.suffix.lower()
            if kind in PICTURES or kind in FILMS:
                (pictures if kind in PICTURES else films).append((spoken(found.relative_to(path)), found))
            else:
                passed_over[kind] += 1
        if not pictures and not films:
            raise DatasetError(f"input={given}: holds no picture and no film ({_count(passed_over)}).")
    elif not path.exists():
        raise DatasetError(f"input={given}: no such file or folder." + _no_camera(given))
    elif path.suffix.lower() == ".csv":
        boxes = path
        pictures = [(name, path.parent / name) for name in _names_in(path)]
    else:
        (films if is_film(path) else pictures).append((spoken(Path(path.name)), path))
    drawn: dict[str, Path] = {}
    if config.draw != "none":
        names = [*pictures, *films] if camera is None else [(name, Path(name))]
        drawn = _places(names, {file for file, _ in films} | ({name} if camera is not None else set()), out)
    _check_free(out, [table, *drawn.values()], [one for _, one in (*pictures, *films)], bool(config.overwrite))
    return Asked(str(model), out, table, pictures, films, camera, boxes, drawn, passed_over)


def _check_word(config: DictConfig, key: str, words: Sequence[str]) -> None:
    if config[key] not in words:
        raise ConfigError(f"{key}={config[key]}: must be one of {', '.join(words)}.")


def _check_numbers(config: DictConfig) -> None:
    """Holds numbers that no signature stands for against what they may be."""
    for key, kind, least in (
        ("batch_size", int, 1),
        ("film.every", int, 1),
        ("film.frames", int, 1),
        ("film.quality", int, 0),
        *([("film.size", int, 32)] if config.film.size is not None else []),
        ("film.patience_s", float, 0),
    ):
        value = OmegaConf.select(config, key)
        fits = isinstance(value, int) or (kind is float and isinstance(value, float))
        if not fits or isinstance(value, bool) or not value >= least:
            raise ConfigError(f"{key}={value}: must be a{' whole' if kind is int else ''} number, at least {least}.")


def _no_camera(given: str) -> str:
    return " The number of a camera is a whole one, from 0." if given.lstrip("+-").isdigit() else ""


def _names_in(table: Path) -> list[str]:
    from rankpose.faces.boxes import read_boxes

    return list(read_boxes(table))


def _count(kinds: Counter[str]) -> str:
    said = ", ".join(f"{count} {kind or 'without an ending'}" for kind, count in kinds.most_common(5))
    return f"of other kinds: {said}" if said else "it is empty"


def _places(files: Sequence[tuple[str, Path]], films: set[str], out: Path) -> dict[str, Path]:
    """A place below `out` for each file, whatever its name is; no two are the same."""
    places: dict[str, Path] = {}
    taken: set[str] = set()
    for name, _ in files:
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
        # a drive of Windows, or a name that is hidden, is a name like any other
        inside = PurePosixPath(*(part.replace(":", "_") for part in parts)) if parts else PurePosixPath("picture")
        suffix = inside.suffix.lower()
        right = suffix == ".mp4" if name in films else suffix in _AS_THEY_ARE
        wanted = inside if right else inside.with_name(f"{inside.name}{'.mp4' if name in films else '.jpg'}")
        free, number = wanted, 2
        while str(free).casefold() in taken or free.stem == TABLE == str(free.parent / free.stem):
            free, number = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}"), number + 1
        taken.add(str(free).casefold())
        places[name] = out / free
    return places


def _check_free(out: Path, written: Sequence[Path], read: Sequence[Path], overwrite: bool) -> None:
    """Raises where something is there already, or would be written through a link to somewhere else."""
    root = out.resolve()
    originals = {one.resolve() for one in read}
    there = [path for path in written if path.exists() or path.is_symlink()]
    for path in written:
        if path.resolve() in originals:
            raise ConfigError(f"out={out}: {shown(path)} is what is looked at; name another folder with out=.")
        if not path.resolve().is_relative_to(root):
            raise ConfigError(f"out={out}: {path} is a link to somewhere else; name another folder with out=.")
    if there and not overwrite:
        others = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(
            f"out={out}: {shown(there[0])}{others} is there already; name another folder with out=, or overwrite=true."
        )
