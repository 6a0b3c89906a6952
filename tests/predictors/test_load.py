"""Pictures to heads, in Python."""

import numpy as np
import pytest
import torch

from rankpose.answers.films import FilmPoses, film_rows
from rankpose.answers.rows import write_rows
from rankpose.data.crop_rules import RankPoseCrop
from rankpose.faces.films import Frame
from rankpose.faces.whole import Whole
from rankpose.predictors.load import Estimator
from rankpose.predictors.python import PythonPredictor

DARK, LIGHT = (np.full((80, 80, 3), shade, np.uint8) for shade in (20, 220))


class InTheLight:
    """A model of a user's own that sees no face in the dark."""

    size = 16

    def __call__(self, image):
        pose = torch.tensor([[10.0, -5.0, 2.0]]).repeat(len(image), 1)
        return torch.where(image.float().mean(dim=(1, 2, 3))[:, None] > 100, pose, torch.nan)


@pytest.fixture
def estimator():
    return Estimator(PythonPredictor(InTheLight(), RankPoseCrop(1.4), {}, "mine"), Whole())


def test_what_a_model_says_is_no_face_is_no_head(estimator):
    assert estimator(DARK) == []
    faces = [estimator.detector(LIGHT)]
    found = estimator.heads([LIGHT, DARK, LIGHT], 3 * faces)
    assert [[head.yaw for head in heads] for heads in found] == [[10.0], [], [10.0]]


@pytest.mark.parametrize("every", [1, 2])
def test_a_frame_without_a_face_by_the_model_has_a_row_without_a_pose(every, estimator, tmp_path):
    shown = [LIGHT, LIGHT, DARK, DARK, LIGHT, LIGHT]
    frames = [Frame(number, number / 25, image) for number, image in enumerate(shown)]
    rows = [row for seen in FilmPoses(estimator, 25, every, frames=4)(frames) for row in film_rows("film", seen)]
    assert [row["frame"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["yaw"] is None for row in rows] == [image is DARK for image in shown]
    assert {row["person"] for row in rows} == {1, None}
    write_rows(tmp_path / "poses.jsonl", rows)
    assert "NaN" not in (tmp_path / "poses.jsonl").read_text()
