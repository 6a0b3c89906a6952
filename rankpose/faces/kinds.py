"""Which files are pictures and which are films? Told by their names, so that a folder is looked through at once."""

import os
from collections.abc import Iterator
from pathlib import Path

PICTURES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".mpo"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".heic", ".heif"),
    )
)
"""Endings of pictures, in lower case."""
FILMS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
        *(".3gp", ".ogv", ".mxf", ".y4m"),
    )
)
"""Endings of films, in lower case."""


def is_film(path: Path) -> bool:
    """Whether a file is one of moving pictures, by its ending, else by how its content begins."""
    suffix = path.suffix.lower()
    if suffix in PICTURES or suffix in FILMS:
        return suffix in FILMS
    try:
        with path.open("rb") as file:
            begin = file.read(16)
    except OSError:
        return False
    brand = begin[8:12]
    return (
        (begin[4:8] == b"ftyp" and brand not in (b"avif", b"heic", b"heix", b"mif1"))
        or begin[:4] == b"\x1a\x45\xdf\xa3"
        or (begin[:4] == b"RIFF" and brand == b"AVI ")
    )


def files_in(folder: Path, out: Path) -> Iterator[Path]:
    """All files of a folder, however deep, in the order of their names; not those below `out`, which a command left."""
    own = out.resolve()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(one for one in folders if not one.startswith(".") and (here / one).resolve() != own)
        yield from (here / file for file in sorted(files) if not file.startswith("."))


def spoken(path: Path) -> str:
    """A path as a table can hold it, with forward slashes."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")
