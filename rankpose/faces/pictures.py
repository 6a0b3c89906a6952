"""How does anybody's picture become upright RGB pixels? Whatever a phone, a scanner or a page of the web has made.

Here a picture is looked at as a person would see it: turned as EXIF says, transparent parts white, 16 bits
brought to 8. (`rankpose.data.images` reads the pictures of data sets, whose labels were made on pixels as stored.)
"""

import io
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rankpose.errors import DatasetError, first_line

MAX_PIXELS = 150_000_000
"""A larger picture is refused by what its header says, before it is decoded: half a gigabyte, or a bomb."""
_MORE = f"more than {MAX_PIXELS / 1e6:.0f} million pixels"
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Picture:
    """One picture."""

    image: np.ndarray
    """(H, W, 3) uint8, red first, upright."""
    note: str = ""
    """What of the file is not in it, for the user; empty where there is nothing to say."""


def open_picture(path: str | Path) -> Picture:
    """Reads a picture's file.

    Raises:
        DatasetError: no such file, no picture, damaged, or too large: names the file and the reason.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise DatasetError(f"{path}: is no file.")
        if status.st_size > MAX_BYTES:
            raise DatasetError(f"{path}: is too large for a picture ({status.st_size / 1e9:.1f} GB).")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else first_line(error)
        raise DatasetError(f"{path}: cannot be read ({said}).") from error
    if not content:
        raise DatasetError(f"{path}: is empty.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: MAX_PIXELS says what is too large, damage is told as such
            with Image.open(io.BytesIO(content)) as file:
                return from_pil(file)
    except UnidentifiedImageError:
        hint = " HEIC is not read: save it as JPEG or PNG." if path.suffix.lower() in (".heic", ".heif") else ""
        raise DatasetError(f"{path}: is no picture that can be read.{hint}") from None
    except (Image.DecompressionBombError, _TooLarge) as error:
        size = str(error) if isinstance(error, _TooLarge) else _MORE
        raise DatasetError(f"{path}: is too large to be decoded ({size}); make it smaller.") from None
    except _Refused as error:
        raise DatasetError(f"{path}: {error}") from None
    except MemoryError:
        raise DatasetError(f"{path}: is too large for the memory of this machine.") from None
    except Exception as error:  # Pillow answers a malformed file with whatever its parser meets
        raise DatasetError(f"{path}: is a damaged picture ({first_line(error)}).") from error


def from_pil(file: Image.Image) -> Picture:
    """The first frame of a Pillow image, upright.

    Raises:
        DatasetError: too large, or in colours that say nothing of how bright a pixel is.
    """
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise _TooLarge(f"{width} x {height}, {_MORE}")
    frames = getattr(file, "n_frames", 1) if file.format not in ("MPO", "TIFF") else 1
    note = f"the first of {frames} frames" if frames > 1 else ""
    if frames > 1:
        file.seek(0)
    upright = ImageOps.exif_transpose(file) or file
    return Picture(np.array(_rgb(upright)), note)


class _TooLarge(DatasetError):
    pass


class _Refused(DatasetError):
    pass


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits of grey, which older versions of Pillow keep in 32
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise _Refused("has whole numbers beyond 16 bits for pixels; save it with 8 or 16 bits.")
        return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise _Refused("has floating-point pixels, whose range is not known; save it with 8 or 16 bits.")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return image.convert("RGB")


def as_pixels(image: "np.ndarray | Image.Image | str | Path") -> np.ndarray:
    """(H, W, 3) uint8, red first, of what a caller may have: such an array, a grey one, a Pillow image or a path.

    Raises:
        DatasetError: a file that is no picture; an array of other numbers or another shape.
    """
    if isinstance(image, str | Path):
        return open_picture(image).image
    if isinstance(image, Image.Image):
        return from_pil(image).image
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise DatasetError(f"an image must be uint8, 0 to 255, not {pixels.dtype}.")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise DatasetError(f"an image must have the shape (height, width, 3), red first, not {pixels.shape}.")
    return np.ascontiguousarray(pixels)
