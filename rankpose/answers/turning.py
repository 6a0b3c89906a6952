"""What does a prediction look like on a head that moves? Rendered heads that turn, true and predicted axes on them.

`python -m rankpose.answers.turning OUT.webp [--model rankpose-photographs] [--people 1 10 19] [--frames 36]`
"""

import argparse
import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from rankpose.data.synthetic import scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.errors import ConfigError, one_line_errors
from rankpose.files import write_whole
from rankpose.predictors import Predictor
from rankpose.predictors.load import predictor_of
from rankpose.report.heads import draw_axes

_TURN_DEG = (55.0, 18.0, 12.0)
"""How far yaw, pitch and roll go to either side."""
_PER_FRAME_MS = 90


def turning_head(predictor: Predictor, person: int, frames: int, side: int) -> list[np.ndarray]:
    """A head that turns to both sides: (side, side, 3) RGB each; predicted axes are solid, true ones pale dashes.

    Args:
        predictor: sees every frame by itself.
        person: whose head; another number, another person.
        frames: of one round; the last goes over into the first.
        side: of a picture, pixels.
    """
    rng = np.random.default_rng(person)
    mesh = build_mesh(make_identity(person), draw_expression(rng))
    # a good camera, with nobody in the way: noise that stands still on a film would be seen first
    seen = replace(scene.draw_scene(rng), occluder="none", edge="none", noise=0.0, blur_px=0.0, motion_px=0.0)
    rounds = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    true = np.array(_TURN_DEG) * np.sin(np.stack([rounds, 2 * rounds + person, rounds + person], axis=1))
    pictures, landmarks = zip(*(scene.render(mesh, pose, seen) for pose in true), strict=True)
    crops = [predictor.crop(*one, predictor.size) for one in zip(pictures, landmarks, strict=True)]
    with torch.inference_mode():
        predicted = predictor(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)).pose.numpy()
    factor = side / scene.IMAGE_SIZE
    drawn = []
    for picture, points, truth, pose in zip(pictures, landmarks, true, predicted, strict=True):
        x, y = ((points.min(axis=0) + points.max(axis=0)) / 2 * factor).tolist()
        large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
        solid = draw_axes(large, pose, (x, y), 0.3 * side, side / 52)
        drawn.append(draw_axes(solid, truth, (x, y), 0.3 * side, side / 150, dashed=True))
    return drawn


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write, .webp or .gif")
    parser.add_argument("--model", default="rankpose-photographs", help="a run, a checkpoint, or a model's name")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 10, 19], help="another number, another person")
    parser.add_argument("--frames", type=int, default=36, help="of one round")
    parser.add_argument("--side", type=int, default=224, help="of a head's picture, pixels")
    wanted = parser.parse_args()
    if wanted.out.suffix.lower() not in (".webp", ".gif"):
        raise ConfigError(f"{wanted.out}: must end with .webp or .gif.")
    predictor = predictor_of(wanted.model, "cpu")
    heads = [turning_head(predictor, person, wanted.frames, wanted.side) for person in wanted.people]
    first, *others = [Image.fromarray(np.hstack(one)) for one in zip(*heads, strict=True)]
    content = io.BytesIO()
    kind = wanted.out.suffix[1:].upper()
    first.save(content, kind, save_all=True, append_images=others, duration=_PER_FRAME_MS, loop=0, quality=62, method=6)
    write_whole(wanted.out, content.getvalue())


if __name__ == "__main__":
    main()
