"""How an image file becomes pixels: the one way, for whoever checks files as for whoever reads them.

Labels were made on pixels as they are stored, so an orientation that EXIF asks for is not followed.
"""

import functools
import io
import os
import re
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
from PIL import Image

from rankpose.data.record import BadFile

_DAMAGED = "with a cut-off, damaged or unreadable image"
_JPEG = b"\xff\xd8\xff"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
"""What follows it, or stands in its place, Pillow does not look at and OpenCV does."""
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP")
"""As Pillow names them: what OpenCV reads as it is stored. It turns a TIFF as its orientation says."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16")
"""As Pillow names them: colours that OpenCV converts to 8-bit RGB; not so CMYK, Lab or floating point."""


_ZIPPED = re.compile(r"(.*\.zip)#(.+)$", re.IGNORECASE)


def inside(root: Path, name: str) -> str:
    """Where a picture of a folder or of a zip file is, for `read_file`: a path, or `FILE.zip#NAME`."""
    return os.path.join(root, name) if root.is_dir() else f"{root}#{name}"


def read_file(path: str, what: str) -> bytes:
    """The bytes of a file; raises `BadFile`, whose reason calls it `what`, where it cannot be read.

    Only a regular file is opened: opening a pipe would wait for ever. `FILE.zip#NAME` is a file in a zip file.
    """
    zipped = _ZIPPED.match(path)
    if zipped is not None:
        return _read_zipped(zipped[1], zipped[2], what)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise BadFile(f"with no {what} (there is something else of its name)", path)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise BadFile(f"with no {what}" + " (a link to nothing)" * Path(path).is_symlink(), path) from None
    except OSError as error:
        raise BadFile(f"with no {what} that can be read ({error.strerror})", path) from None


def _read_zipped(archive: str, name: str, what: str) -> bytes:
    try:
        return _opened(archive, os.getpid()).read(name)
    except KeyError:
        raise BadFile(f"with no {what}", f"{archive}#{name}") from None
    except (
        OSError,
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
    ) as error:  # encrypted, packed in another way
        raise BadFile(f"with no {what} that can be read ({error})", f"{archive}#{name}") from None


@functools.lru_cache(maxsize=8)
def _opened(archive: str, process: int) -> zipfile.ZipFile:
    """A zip file, opened once a process: one that is shared after a fork would move the place where others read."""
    return zipfile.ZipFile(archive)


def size_and_time(path: str | os.PathLike[str]) -> str:
    """What tells whether a file has changed: its size and time of change, "gone" where there is none."""
    zipped = _ZIPPED.match(os.fspath(path))
    try:
        status = os.stat(path if zipped is None else zipped[1])
    except OSError:
        return "gone"
    return f"{status.st_size}/{status.st_mtime_ns}"


def decode(content: bytes | pa.Buffer) -> np.ndarray:
    """(H, W, 3) uint8, red first, of the bytes of an image file; raises `BadFile` where they are damaged.

    A JPEG carries no checksum: a few changed bits may pass for other pixels.
    """
    data = np.frombuffer(content, np.uint8)
    try:
        if data[:3].tobytes() == _JPEG:  # OpenCV would fill what is missing with grey
            return np.asarray(simplejpeg.decode_jpeg(data))
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except (ValueError, cv2.error):
        image = None
    if image is None:
        raise BadFile(_DAMAGED)
    return image


def check_image(path: str) -> tuple[int, int]:
    """Width and height, pixels, of an image file that `decode` can read; raises `BadFile` where it cannot.

    Finds out without most of the work: a JPEG's stream is read but few pixels are computed, a PNG's checksums tell.
    """
    content = read_file(path, "image file")
    try:
        with Image.open(io.BytesIO(content)) as header:
            if header.format not in _FORMATS or header.mode not in _MODES:
                kind = f"{header.format} image of mode {header.mode}"
                raise BadFile(f"with a {kind}: save it as JPEG or PNG, in RGB or grey", path)
            if header.format == "PNG" and content.endswith(_PNG_END):
                header.verify()
            elif content.startswith(_JPEG):
                simplejpeg.decode_jpeg(content, colorspace="GRAY", min_height=1, min_width=1, min_factor=8)
            else:
                decode(content)
            return header.size
    except BadFile:
        raise
    except Image.DecompressionBombError:
        raise BadFile("with too large an image", path) from None
    except Exception:  # Pillow answers a malformed file with whatever its parser meets
        raise BadFile(_DAMAGED, path) from None
