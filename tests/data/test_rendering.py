"""Pictures of explicit factors: what is said is what is drawn, and pairs differ in one factor only."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rankpose.data.synthetic import rendering, write
from rankpose.data.synthetic.rendering import BACKGROUND, EARS, HAIR, SKIN, draw_person, draw_scene, render
from rankpose.data.synthetic.traits import Expression
from rankpose.errors import DatasetError

POSE = (15.0, -5.0, 3.0)


@pytest.fixture(scope="module")
def plain() -> rendering.Scene:
    return rendering.without_film(draw_scene(np.random.default_rng(8)))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "set"
    write.write_synthetic(root, {"test": 2}, images_per_identity=6, seed=5, workers=1, progress=False)
    return root


def changed(one: rendering.Picture, other: rendering.Picture) -> np.ndarray:
    return np.asarray((one.image != other.image).any(-1))


def far_from(mask: np.ndarray, pixels: int = 4) -> np.ndarray:
    """Pixels no nearer to the mask than so: an outline is softened."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) == 0


def test_every_picture_of_a_set_can_be_drawn_again_from_its_row(drawn: Path) -> None:
    files = sorted((drawn / "SYN_TEST").glob("*.jpg"))
    table = rendering.read_factors(drawn, [f"SYN_TEST/{file.name}" for file in files])
    assert table is not None
    assert len(table) == 12
    for place, file in enumerate(files):
        person, pose, scene = rendering.described(table.iloc[place])
        assert not [name for name, value in vars(scene).items() if isinstance(value, np.generic)], "plain numbers"
        picture = render(person, pose, scene)
        quality = [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality]
        _, packed = cv2.imencode(".jpg", cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR), quality)
        again, stored = (cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in (packed, file.read_bytes()))
        assert np.abs(again.astype(int) - stored).mean() < 0.05, file.name


def test_a_set_without_factors_has_none_and_a_damaged_table_is_told(drawn: Path, tmp_path: Path) -> None:
    assert rendering.read_factors(tmp_path, ["AFW/a_0.jpg"]) is None
    assert rendering.read_factors(drawn, ["a.jpg"]) is None
    with pytest.raises(DatasetError, match=r"knows nothing of SYN_TEST/SYN_000000_99\.jpg"):
        rendering.read_factors(drawn, ["SYN_TEST/SYN_000000_99.jpg"])
    (tmp_path / "SYN_TEST").mkdir()
    (tmp_path / "SYN_TEST" / "factors.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"factors\.parquet: cannot be read"):
        rendering.read_factors(tmp_path, ["SYN_TEST/SYN_000000_0.jpg"])
    with pytest.raises(DatasetError, match="no column identity_seed"):
        rendering.described({"yaw": 0.0})


def test_parts_say_what_is_where(plain: rendering.Scene) -> None:
    bald = draw_person(3)
    bald = replace(bald, identity=replace(bald.identity, cache={}, hair_style="bald", glasses="none", ears_bare=1.0))
    picture = render(bald, (0, 0, 0), plain)
    assert HAIR not in picture.parts
    assert EARS in picture.parts
    at = np.rint(picture.landmarks).astype(int)
    inner = at[17:]  # brows, nose, eyes, mouth
    assert (picture.parts[inner[:, 1], inner[:, 0]] == SKIN).all()
    assert (picture.parts[:5] == BACKGROUND).mean() > 0.5
    haired = replace(bald, identity=replace(bald.identity, cache={}, hair_style="afro", hair_thickness=4.0))
    other = render(haired, (0, 0, 0), plain, picture.camera)
    assert (other.parts == HAIR).sum() > 0.1 * (picture.parts == SKIN).sum()


def test_the_same_factors_give_the_same_picture(plain: rendering.Scene) -> None:
    one, other = (render(draw_person(3), POSE, plain) for _ in range(2))
    assert not changed(one, other).any()
    assert (one.parts == other.parts).all()


def test_another_background_leaves_the_head(plain: rendering.Scene) -> None:
    kinds = {picture: replace(plain, background=picture) for picture in ("plain", "stripes")}
    one, other = (render(draw_person(3), POSE, scene) for scene in kinds.values())
    differ = changed(one, other)
    assert not differ[far_from(one.parts == BACKGROUND)].any()
    assert differ[one.parts == BACKGROUND].mean() > 0.9


def test_light_expression_and_person_leave_the_background(plain: rendering.Scene) -> None:
    person, someone = draw_person(3), draw_person(11)
    one = render(person, POSE, plain)
    light = replace(plain, key_direction=(-0.9, 0.3, 0.31), key_strength=1.4)
    others = {
        "light": render(person, POSE, light, one.camera),
        "expression": render(
            replace(person, expression=Expression(mouth_open=1.5, smile=0.8)), POSE, plain, one.camera
        ),
        "skin": render(person.like(someone.identity, ("skin_red", "skin_green", "skin_blue")), POSE, plain, one.camera),
        "shape": render(person.like(someone.identity, ("nose_length", "jaw_width")), POSE, plain, one.camera),
    }
    for name, other in others.items():
        outside = far_from((one.parts != BACKGROUND) | (other.parts != BACKGROUND))
        differ = changed(one, other)
        assert outside.mean() > 0.1, name
        assert not differ[outside].any(), name
        assert differ[one.parts == SKIN].mean() > 0.2, name


def test_a_pair_shares_its_camera(plain: rendering.Scene) -> None:
    person = draw_person(3)
    one = render(person, (0, 0, 0), plain)
    shouting = replace(person, expression=Expression(mouth_open=2.5))
    same, anew = (render(shouting, (0, 0, 0), plain, camera) for camera in (one.camera, None))
    upper = slice(17, 36)  # brows and nose do not move with the mouth
    np.testing.assert_allclose(same.landmarks[upper], one.landmarks[upper], atol=0.5)
    assert np.abs(anew.landmarks[upper] - one.landmarks[upper]).max() > 1
