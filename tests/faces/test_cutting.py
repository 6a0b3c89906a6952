"""Faces that are cut out of photographs and films: what is kept of whom, where the box lies, what is told."""

import json
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
from films import cut, ffmpeg, write_film
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rankpose.command.gathering import FACES_PARTIAL, Gathering, faces_folder, sources_in
from rankpose.data.crop import points_around, read_image
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.data.readers.photographs import read_faces
from rankpose.errors import ConfigError, DatasetError
from rankpose.faces.centerface import CenterFace
from rankpose.faces.cutting import FilmSampling, Scissors, Spread
from rankpose.faces.found import not_in_the_middle


@pytest.fixture(scope="module")
def renders(small_set):
    """Two renders of different people."""
    return [read_image(str(small_set / "SYN_TRAIN" / f"SYN_00000{person}_0.jpg")) for person in (3, 4)]


def smooth(seed, height=300, width=420):
    """A picture in which every place looks different, without edges that a resize would soften."""
    coarse = np.random.default_rng(seed).integers(256, size=(8, 10, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@given(st.integers(0, 9), st.floats(-20, 380), st.floats(-20, 260), st.floats(40, 160), st.integers(64, 500))
def test_a_network_sees_in_a_cut_out_what_it_sees_in_the_picture(seed, left, top, side, size):
    image, box = smooth(seed), np.array([left, top, left + side, top + side])
    out = Scissors(size=size)(image, box)
    if out is None:  # nothing of the square's reach lies in the picture
        assert (box[:2] - 0.7 * side > np.array([420, 300]) - 3).any() or (box[2:] + 0.7 * side < 3).any()
        return
    assert max(out.image.shape) <= size + 3  # the pixels that the square's edges cut, and one more
    crop = RankPoseCrop(1.6)
    there, here = (
        crop(one, points_around(where, None), 32) for one, where in ((image, box), (out.image, out.face_box))
    )
    # at the picture's edge, black begins a pixel sooner or later, and has a part of the pixel beside it
    seen = cv2.erode((there.any(axis=2) & here.any(axis=2)).astype(np.uint8), np.ones((3, 3))) > 0
    apart = np.abs(there.astype(int) - here).max(axis=2)[seen]
    assert np.percentile(apart, 90) < 12 if len(apart) else True


def test_small_faces_are_passed_over():
    assert Scissors(min_side=50)(smooth(0), np.array([100, 100, 149, 149])) is None
    with pytest.raises(ConfigError, match=r"faces\.room=0\.5: must be at least 1"):
        Scissors(room=0.5)


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=200), st.floats(0, 1), st.integers(2, 20))
def test_what_is_kept_is_spread_over_the_whole_time(steps, apart_s, most):
    spread, kept, wanted = Spread(apart_s, most), {}, 0
    times = np.cumsum(steps)
    for frame, time in enumerate(times):
        if spread.wants(1, time):
            wanted += 1
            gone = spread.keep(1, time, frame)
            kept[frame] = time
            for one in gone:
                del kept[one]
    moments = list(kept.values())
    assert 0 in kept
    assert len(kept) <= most
    assert (np.diff(moments) >= apart_s - 1e-5).all()
    if wanted <= most:
        assert len(kept) == wanted
    else:
        assert len(kept) >= most // 2
        assert spread.wants(2, times[-1]), "of somebody else there is none yet"


def film_of(path, *scenes, count=10):
    """Scenes one after the other: each is a picture that stands still, in the middle of a frame."""
    frames = []
    for picture, shade in scenes:
        frame = np.full((256, 320, 3), shade, np.uint8)
        frame[32:224, 64:256] = picture
        frames += [frame] * count
    return write_film(path, frames, rate=10, sound=False)


@pytest.fixture(scope="module")
def album(renders, tmp_path_factory):
    """A folder with photographs of one and of two people, one that lies on its side, a broken one, and films."""
    root = tmp_path_factory.mktemp("album") / "album"
    (root / "ann").mkdir(parents=True)
    wide = np.full((400, 700, 3), 128, np.uint8)
    wide[100:292, 60:252] = renders[0]
    Image.fromarray(wide).save(root / "ann" / "alone.png")
    small = np.array(Image.fromarray(renders[1]).resize((120, 120)))
    wide[200:320, 500:620] = small
    Image.fromarray(wide).save(root / "ann" / "both.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(wide)).save(root / "phone.jpg", quality=95, exif=exif)
    (root / "broken.jpg").write_bytes(b"no picture")
    (root / "notes.txt").write_text("no picture either")
    film_of(root / "talk.mp4", (renders[0], 30), (renders[1], 220))
    return root


@pytest.fixture(scope="module")
def gathered(album, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "faces"
    sources = sources_in(album, out, None, {}, None)
    gather = Gathering(out, CenterFace(), Scissors(), FilmSampling(every=1, apart_s=0.3))
    return out, sources, *gather(sources, "how")


def test_each_face_of_photographs_and_films_is_cut_out_with_who_it_is(gathered):
    out, _, rows, failures = gathered
    of = {source: rows[rows["source"] == source] for source in rows["source"].unique()}
    assert of["ann/alone.png"][["image", "identity"]].values.tolist() == [["ann/alone.jpg", "ann"]]
    # the larger one is who the folder says, of the other nobody knows
    assert of["ann/both.jpg"]["identity"].tolist() == ["ann", "ann/both.jpg face 2"]
    # a phone's picture is looked at as it is shown, and is nobody's folder
    assert of["phone.jpg"]["identity"].tolist() == ["phone.jpg", "phone.jpg face 2"]
    people = of["talk.mp4"].groupby("identity")["time"].apply(list)
    assert people.index.tolist() == ["talk/person1", "talk/person2"], "somebody else in the same place"
    assert (np.diff(people.iloc[0]) >= 0.3 - 1e-6).all()
    assert max(people.iloc[0]) < 1 <= min(people.iloc[1])
    (failure,) = failures.values()
    assert "broken.jpg: is no picture that can be read" in failure
    records = read_faces(out, rows)
    assert len(records) == len(rows)
    detector = CenterFace()
    assert all(len(detector(read_image(image))) == 1 for image in records.images[:3])
    # the cut-outs hold the faces where the table says
    for record in (records[row] for row in range(len(records))):
        faces = [detector.to_face_box(face.box) for face in detector(read_image(record.image))]
        side = record.face_box[2] - record.face_box[0]
        assert min(np.abs(face - record.face_box).max() for face in faces) < 0.25 * side
    # cut-outs are no crops of the usual kind
    elsewhere, looked = not_in_the_middle(read_faces(out), detector)
    assert looked > 5
    assert 2 * elsewhere > looked


class Counts(CenterFace):
    """A detector that says how often it was asked, and dies after so many times."""

    def __init__(self, dies_after=None):
        super().__init__()
        self.asked, self.dies_after = 0, dies_after

    def __call__(self, image):
        if self.asked == self.dies_after:
            raise KeyboardInterrupt
        self.asked += 1
        return super().__call__(image)


def test_it_goes_on_after_the_last_file_that_was_done(album, gathered, tmp_path):
    _, sources, whole, _ = gathered
    photographs = [source for source in sources if not source.film]
    out = tmp_path / "faces"

    def gather(detector):
        return Gathering(out, detector, Scissors(), FilmSampling())(photographs, "how")[0]

    with pytest.raises(KeyboardInterrupt):
        gather(Counts(dies_after=2))
    with (out / FACES_PARTIAL).open("a") as file:
        file.write('{"source": "phone.jpg", "fac')  # a line that was cut off
    again = Counts()
    rows = gather(again)
    assert again.asked == 1
    expected = whole[whole["source"] != "talk.mp4"].drop(columns=["frame", "time"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected, check_like=True)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg")) == sorted(rows["image"])
    lines = (out / FACES_PARTIAL).read_text().splitlines()
    assert len([json.loads(line) for line in lines[1:]]) == len(photographs)


def test_of_a_film_that_is_cut_off_the_rest_is_kept_and_told(album, tmp_path):
    ffmpeg("-i", album / "talk.mp4", "-c", "copy", "-movflags", "+faststart", tmp_path / "front.mp4")
    cut(tmp_path / "front.mp4", tmp_path / "half.mp4", 0.7)
    (tmp_path / "none.mp4").write_bytes(b"no film")
    found = {}
    for name in ("half", "none"):
        sources = sources_in(tmp_path / f"{name}.mp4", tmp_path / "out", None, {}, None)
        gather = Gathering(tmp_path / name, CenterFace(), Scissors(), FilmSampling(every=1, apart_s=0))
        found[name] = gather(sources, "how")
    rows, failures = found["half"]
    (failure,) = failures.values()
    assert "half.mp4: breaks off after" in failure
    assert 3 < len(rows) < 20
    rows, failures = found["none"]
    (failure,) = failures.values()
    assert "none.mp4: is no film that can be read" in failure
    assert rows.empty


def test_photographs_are_taken_from_zip_files_and_tables(album, tmp_path):
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as file:
        file.write(album / "ann" / "both.jpg", "x/both_1.jpg")
    (source,) = sources_in(tmp_path / "album.zip", tmp_path / "out", None, {}, r"(?:.*/)?(.+)_\d+")
    rows, _ = Gathering(tmp_path / "out", CenterFace(), Scissors(), FilmSampling())([source], "how")
    assert rows["identity"].tolist() == ["both", "x/both_1.jpg face 2"]
    table = tmp_path / "who.csv"
    pd.DataFrame({"image": ["ann/both.jpg"], "person": ["Ann"]}).to_csv(table, index=False)
    (source,) = sources_in(album, tmp_path / "out", str(table), {"identity": "person"}, None)
    assert (source.name, source.who) == ("ann/both.jpg", "Ann")
    pd.DataFrame([{"image": "phone.jpg", "left": 1, "top": 1, "right": 9, "bottom": 9}]).to_csv(table, index=False)
    with pytest.raises(ConfigError, match="tells where the faces are"):
        sources_in(album, tmp_path / "out", str(table), {}, None)
    with pytest.raises(ConfigError, match=r"data\.identity=\(\.\+\): is for photographs"):
        sources_in(album / "talk.mp4", tmp_path / "out", None, {}, "(.+)")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no picture and no film"):
        sources_in(tmp_path / "empty", tmp_path / "out", None, {}, None)


def test_nothing_is_written_over(album, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for out, told in ((str(album), "holds what is looked at"), (str(album.parent), "holds what is looked at")):
        with pytest.raises(ConfigError, match=told):
            faces_folder(album, out, overwrite=True)
    with pytest.raises(ConfigError, match=r"full: thesis\.txt is there already; overwrite=true"):
        faces_folder(album, str(tmp_path / "full"), overwrite=False)
    assert faces_folder(album, str(tmp_path / "full"), overwrite=True) == tmp_path / "full"
    with pytest.raises(ConfigError, match=r"faces\.csv: found faces are written into a folder"):
        faces_folder(album, "faces.csv", overwrite=False)
    assert faces_folder(album / "talk.mp4", None, overwrite=False) == album / "talk_faces"
