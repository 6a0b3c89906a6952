"""Files and folders as they are found: what is checked is what is read, and what is odd is named, never fatal."""

import io
import os
import shutil
import socket
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import run, succeed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_readers import write_sample

from rankpose.data.crop import read_image
from rankpose.data.images import check_image, decode
from rankpose.data.packed.reading import open_packed
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.aflw2000 import LAYOUT, read_aflw2000
from rankpose.data.readers.index import read_indexed, survey
from rankpose.data.record import BadFile
from rankpose.errors import DatasetError, DatasetNotFoundError

WIDTH, HEIGHT = 120, 90
COARSE = np.random.default_rng(3).integers(0, 255, (9, 12, 3), dtype=np.uint8)
PICTURE = cv2.resize(COARSE, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
RGB = Image.fromarray(PICTURE)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# What a file holds

GREY = RGB.convert("L")
CLEAR = Image.fromarray(np.dstack([PICTURE, np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8)]))
ENCODINGS = {
    "jpeg": encoded(RGB, "JPEG", quality=90),
    "jpeg progressive": encoded(RGB, "JPEG", progressive=True),
    "jpeg with restarts": encoded(RGB, "JPEG", restart_marker_rows=1),
    "jpeg full colour": encoded(RGB, "JPEG", subsampling=0),
    "jpeg grey": encoded(GREY, "JPEG"),
    "jpeg of two": encoded(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)]),
    "png": encoded(RGB, "PNG"),
    "png grey": encoded(GREY, "PNG"),
    "png palette": encoded(RGB.quantize(16), "PNG", bits=4),
    "png palette, one clear": encoded(RGB.quantize(16), "PNG", transparency=3),
    "png black and white": encoded(RGB.convert("1"), "PNG"),
    "png alpha": encoded(CLEAR, "PNG"),
    "png grey alpha": encoded(CLEAR.convert("LA"), "PNG"),
    "webp": encoded(RGB, "WEBP", lossless=True),
    "bmp": encoded(RGB, "BMP"),
}
DEEP = {
    "png 16 bit": cv2.imencode(".png", PICTURE[..., ::-1].astype(np.uint16) * 256)[1].tobytes(),
    "png grey 16 bit": encoded(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 256), "PNG"),
}
FOREIGN = {
    "jpeg cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "tiff": encoded(RGB, "TIFF"),
    "tiff of floats": encoded(RGB.convert("F"), "TIFF"),
    "tga": encoded(RGB, "TGA"),
    "pcx": encoded(RGB, "PCX"),
    "ico": encoded(RGB, "ICO"),
    "nothing": b"",
    "text": b"<html>404 Not Found</html>",
}


def cut(content, at):
    return content[:at]


def cut_and_ended(content, at):
    return content[:at] + (b"\xff\xd9" if content[:2] == b"\xff\xd8" else content[-12:])


def zeroed(content, at):
    return content[:at] + bytes(len(content) // 4) + content[at + len(content) // 4 :]


def shortened(content, at):
    return content[:at] + content[at + len(content) // 4 :]


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


LARGE_DAMAGE = [cut, cut_and_ended, zeroed, shortened]


def checked(path, content):
    """The size that the check finds, or the reason that it gives."""
    path.write_bytes(content)
    try:
        return check_image(str(path))
    except BadFile as bad:
        return bad.reason


RIGHT = {name: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for name, content in ENCODINGS.items()}
RIGHT |= {"png 16 bit": PICTURE, "png grey 16 bit": np.asarray(GREY.convert("RGB"))}


@pytest.mark.parametrize("name", RIGHT)
def test_an_encoding_is_right_as_rgb(tmp_path, name):
    assert checked(tmp_path / "a.jpg", (ENCODINGS | DEEP)[name]) == (WIDTH, HEIGHT)
    assert np.array_equal(read_image(str(tmp_path / "a.jpg")), RIGHT[name])


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_cannot_be_right_as_rgb_is_refused(tmp_path, content):
    reason = checked(tmp_path / "a.jpg", content)
    assert "unreadable" in reason or "in RGB or grey" in reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_in_exif_turns_nothing(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    assert checked(tmp_path / "a.jpg", encoded(RGB, form, exif=exif, **options)) == (WIDTH, HEIGHT)
    plain = decode(encoded(RGB, form, **options))
    assert np.array_equal(read_image(str(tmp_path / "a.jpg")), plain)


@pytest.mark.parametrize("damage", LARGE_DAMAGE)
@pytest.mark.parametrize("name", [name for name in ENCODINGS if name.startswith(("jpeg", "png"))])
def test_a_damaged_image_is_neither_used_nor_read(tmp_path, name, damage):
    content = damage(ENCODINGS[name], len(ENCODINGS[name]) // 2)
    assert "damaged" in checked(tmp_path / "a.jpg", content)
    with pytest.raises(DatasetError, match=r"a\.jpg.*damaged"):
        read_image(str(tmp_path / "a.jpg"))


@settings(max_examples=300)
@given(st.sampled_from([*ENCODINGS.values()]), st.sampled_from([*LARGE_DAMAGE, flipped]), st.floats(0, 0.999))
def test_what_is_found_usable_is_read_at_the_size_that_was_found(tmp_path_factory, content, damage, share):
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    found = checked(path, damage(content, int(share * len(content))))
    if not isinstance(found, str):
        assert read_image(str(path)).shape == (found[1], found[0], 3)


# What a folder holds


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge(path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def huge_jpeg(path):
    content = encoded(RGB, "JPEG")
    size = content.index(struct.pack(">HH", HEIGHT, WIDTH))
    path.write_bytes(content[:size] + struct.pack(">HH", 60_000, 60_000) + content[size + 4 :])


def a_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # its name may have 108 letters
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def replaced(make, suffix):
    """An odd entry in place of the image or the annotation of a sample."""

    def odd(folder):
        path = write_to(folder, "image00100").with_suffix(suffix)
        path.unlink()
        make(path)
        return {f"image00100{suffix}"}

    return odd


def write_to(folder, stem):
    write_sample(folder / stem, (1, 2, 3), "pt3d_68")
    return folder / f"{stem}.jpg"


def two_images(folder):
    image = write_to(folder, "image00100")
    image.with_suffix(".png").write_bytes(encoded(RGB, "PNG"))
    return {"image00100.jpg", "image00100.png"}


def two_annotations(folder):
    image = write_to(folder, "image00100")
    shutil.copy(image.with_suffix(".mat"), image.with_suffix(".MAT"))
    return {"image00100.jpg"}


def no_utf8(folder):
    image = write_to(folder, "image00100")
    for suffix in (".jpg", ".mat"):
        image.with_suffix(suffix).rename(os.fsdecode(os.fsencode(folder) + b"/image\xff" + suffix.encode()))
    return {"image\\udcff.jpg"}


def passed_over(folder):
    image = write_to(folder, "image00100")
    for suffix in (".jpg", ".mat"):
        image.with_suffix(suffix).rename(folder / f"._image00001{suffix}")
    for name in (".DS_Store", "Thumbs.db", "readme.txt", "list.csv"):
        (folder / name).write_bytes(b"x")
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe")
    return set()


def hdf5(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n")


ODD = {
    "folder": (replaced(lambda path: path.mkdir(), ".jpg"), "no image file"),
    "dangling link": (replaced(lambda path: path.symlink_to("nowhere"), ".jpg"), "link to nothing"),
    "link in a ring": (replaced(lambda path: path.symlink_to(path.name), ".jpg"), "no image file"),
    "pipe": (replaced(os.mkfifo, ".jpg"), "no image file"),
    "socket": (replaced(a_socket, ".jpg"), "no image file"),
    "huge": (replaced(huge, ".jpg"), "too large"),
    "huge JPEG": (replaced(huge_jpeg, ".jpg"), "too large"),
    "annotation is a folder": (replaced(lambda path: path.mkdir(), ".mat"), "no .mat annotation"),
    "annotation is a dangling link": (replaced(lambda path: path.symlink_to("nowhere"), ".mat"), "link to nothing"),
    "annotation is a pipe": (replaced(os.mkfifo, ".mat"), "no .mat annotation"),
    "annotation of MATLAB 7.3": (replaced(hdf5, ".mat"), "save it with -v7"),
    "two images": (two_images, "another image of the same name"),
    "two annotations": (two_annotations, "two .mat annotations"),
    "no UTF-8": (no_utf8, "locale"),
    "no sample": (passed_over, ""),
}
GOOD = ["image00001.jpg", "image00002.JPG", "image00003.jpeg", "image00004.JPEG", "image00005.png", "imagé00006.jpg"]
GOOD += [f"{'x' * 251}.jpg", "a link.jpg"]


@pytest.fixture
def folder(tmp_path):
    """Eight samples whose names differ; the yaw of each is ten times its place."""
    root = tmp_path / "AFLW2000"
    for number, name in enumerate(GOOD):
        stem, suffix = os.path.splitext(name)
        write_sample(root / "made", (10 * number, 2, 3), "pt3d_68")
        if suffix == ".png":
            (root / "made.jpg").write_bytes(encoded(Image.open(root / "made.jpg"), "PNG"))
        (root / "made.jpg").rename(root / name)
        (root / "made.mat").rename(root / (stem + (".MAT" if suffix.isupper() else ".mat")))
    kept = (root / GOOD[-1]).rename(tmp_path / "elsewhere.jpg")
    (root / GOOD[-1]).symlink_to(kept)
    return root


@pytest.mark.parametrize("kinds", [*([kind] for kind in ODD), [*ODD]], ids=[*ODD, "all"])
def test_odd_entries_are_named_with_a_reason_and_the_rest_is_read(folder, kinds):
    told = {}
    for number, kind in enumerate(kinds):
        below = folder.parent / "odd" / str(number)
        make, reason = ODD[kind]
        told |= {name.replace("100", f"9{number:02d}"): reason for name in make(below)}
        for path in below.iterdir():
            path.rename(folder / path.name.replace("100", f"9{number:02d}"))
    for _ in range(2):  # the second time from the index
        records = read_aflw2000(folder)
        assert sorted(records.names) == sorted(GOOD)
        yaws = [records[i].pose[0] for i in np.argsort([GOOD.index(name) for name in records.names])]
        assert yaws == pytest.approx([10 * number for number in range(len(GOOD))], abs=1e-4)
        assert all(read_image(records[i].image).shape == (90, 90, 3) for i in range(len(records)))
        assert {os.path.basename(reject.file) for reject in records.rejects} == set(told)
        for reject in records.rejects:
            assert told[os.path.basename(reject.file)] in reject.reason
    if told:
        with pytest.raises(DatasetError) as error:
            read_aflw2000(folder, strict=True)
        assert any(name in str(error.value) for name in told)
        assert "\n" not in str(error.value)


def test_a_file_that_goes_while_a_folder_is_read_is_a_reject(folder):
    found = survey(folder, [""])
    (folder / GOOD[0]).unlink()
    records = read_indexed(LAYOUT, folder, found, None, False)
    assert [reject.reason for reject in records.rejects] == ["with no image file"]
    (folder / GOOD[1]).unlink()
    with pytest.raises(DatasetError, match=r"00002\.JPG.*no image file"):
        read_image(records[list(records.names).index(GOOD[1])].image)
    packing = prepare(records, folder, folder.parent / "a.arrow", read_aflw2000, None, workers=1)
    assert {os.path.basename(reject.file) for reject in packing.rejects} == set(GOOD[:2])
    assert len(open_packed(folder.parent / "a.arrow")) == len(GOOD) - 2


def test_pixels_of_a_packed_file_that_is_gone_are_refused(folder):
    out = folder.parent / "a.arrow"
    prepare(read_aflw2000(folder), folder, out, read_aflw2000, 99.0, workers=1)
    reference = open_packed(out)[0].image
    out.unlink()
    with pytest.raises(DatasetError, match="prepare the file again"):
        read_image(reference)


def test_a_folder_by_any_path(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert len(read_aflw2000(link)) == len(GOOD)
    for root in (folder / GOOD[0], folder.parent / ("x" * 300), folder / ("x/" * 3000)):
        with pytest.raises(DatasetNotFoundError, match="no such folder"):
            read_aflw2000(root)
    with pytest.raises(DatasetError, match="gone: cannot be listed"):
        survey(folder, ["gone"])


@pytest.mark.slow
def test_prepare_names_its_file_after_the_folder_that_it_is_in(small_set, tmp_path):
    shutil.copytree(small_set / "SYN_VAL", tmp_path / "set" / "SYN_VAL")
    succeed(run("prepare", "data=300w_lp", "data.root=.", "workers=1", cwd=tmp_path / "set"))
    assert len(open_packed(tmp_path / "set.arrow")) == len(list(tmp_path.rglob("*.jpg")))
