"""Which files are pictures and which are films? Told by their names, so that a folder is looked through at once."""

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
