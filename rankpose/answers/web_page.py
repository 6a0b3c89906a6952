"""The page in the browser: a picture, a film or the camera goes in; axes, angles and a head turned alike come out.

Built with Gradio, an extra: this module alone imports it.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from rankpose.answers.drawing import colour_of, draw_heads
from rankpose.answers.film_file import FilmFile
from rankpose.answers.films import FilmPoses, film_rows
from rankpose.answers.rows import Row, row_of, write_rows
from rankpose.data.synthetic import scene as scenes
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.data.synthetic.mesh import Mesh
from rankpose.data.synthetic.rendering import without_film
from rankpose.data.synthetic.traits import Expression
from rankpose.errors import RankPoseError
from rankpose.faces.films import Film, read_ahead
from rankpose.faces.pictures import open_picture
from rankpose.faces.smoothing import OneEuro
from rankpose.predictors.load import Estimator, Head

_COLUMNS = ["person", "yaw", "pitch", "roll", "expected error", "detector's score"]
_DRAWINGS = ["axes", "cube"]
_SHOWN: dict[str, Any] = {"interactive": False, "buttons": ["download", "fullscreen"]}
"""Of pictures that come out; Gradio's third button would send them to another server."""
_LIKENESSES = 4
"""So many heads of a picture are drawn as a turned head."""
_EXAMPLES = ((3, (35.0, -5.0, 8.0)), (11, (-50.0, 10.0, -4.0)), (24, (5.0, -25.0, 18.0)))
"""Number of a person, and a pose."""
_FONTS = ["system-ui", "sans-serif"]
LOOK: dict[str, Any] = {
    # fonts of this machine: others would come from a server
    "theme": gr.themes.Soft(font=_FONTS, font_mono=["ui-monospace", "monospace"], primary_hue="blue"),
    "css": "footer {display: none !important}",
}
"""For `launch`."""


def web_page(estimator: Estimator, model: str, folder: Path) -> gr.Blocks:
    """The page.

    Args:
        estimator: says poses.
        model: what the page calls it.
        folder: for what is made for a visitor; whoever serves the page removes it.
    """
    page = gr.Blocks(title="RankPose", analytics_enabled=False, delete_cache=(60, 600))
    with page:
        gr.Markdown(
            f"# How is this head turned?\n`{model}` says yaw, pitch and roll of every face, in degrees: yaw to the "
            "left of the picture, pitch upwards, roll clockwise. Nothing is kept."
        )
        drawing = gr.Radio(_DRAWINGS, value="axes", label="Drawn on the picture")
        with gr.Tab("Picture"):
            with gr.Row():
                given = gr.Image(label="A picture", type="filepath", format="png", elem_id="picture")
                drawn = gr.Image(label="Its heads", format="png", elem_id="drawn", **_SHOWN)
            with gr.Row():
                table = gr.Dataframe(headers=_COLUMNS, label="Degrees", interactive=False, elem_id="table", scale=2)
                alike = gr.Image(label="A head turned alike", format="png", elem_id="alike", scale=1, **_SHOWN)
            gr.Examples(_examples(folder), given, label="Rendered people", elem_id="examples")
            asked = [given, drawing]
            gr.on([given.change, drawing.change], lambda *one: _picture(estimator, *one), asked, [drawn, table, alike])
        with gr.Tab("Camera"), gr.Row():
            live = gr.Image(label="The camera", type="numpy", sources=["webcam"], streaming=True, elem_id="camera")
            with gr.Column():
                followed = gr.Image(label="Its heads", elem_id="live", **_SHOWN)
                said = gr.Dataframe(headers=_COLUMNS, label="Degrees", interactive=False)
            live.stream(lambda *one: _frame(estimator, *one), [live, drawing], [followed, said], stream_every=0.2)
        with gr.Tab("Film"):
            with gr.Row():
                film = gr.Video(label="A film", elem_id="film")
                result = gr.Video(label="Its heads", interactive=False, elem_id="drawn_film")
            smooth = gr.Checkbox(value=True, label="Smooth the poses")
            go = gr.Button("Say the poses", variant="primary", elem_id="go")
            summary = gr.Markdown(elem_id="summary")
            rows = gr.File(label="Table of poses", interactive=False)
            go.click(lambda *one: _film(estimator, folder, *one), [film, drawing, smooth], [result, rows, summary])
    return page


def _picture(estimator: Estimator, path: str | None, drawing: str) -> tuple[Any, Any, Any]:
    if path is None:
        return None, None, None
    try:
        picture = open_picture(Path(path))
        heads = estimator(picture.image)
    except RankPoseError as error:
        raise gr.Error(str(error).replace(path, Path(path).name)) from error
    if not heads:
        gr.Info("No face was found.")
        return picture.image, None, None
    people = range(1, len(heads) + 1)
    return draw_heads(picture.image, heads, people, drawing), _table(heads), _likenesses(heads)


def _frame(estimator: Estimator, image: np.ndarray | None, drawing: str) -> tuple[Any, Any]:
    if image is None:
        return None, None
    heads = estimator(image)
    return draw_heads(image, heads, range(1, len(heads) + 1), drawing), _table(heads)


def _film(
    estimator: Estimator,
    folder: Path,
    path: str | None,
    drawing: str,
    smooth: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  how Gradio finds it
) -> tuple[str, str, str]:
    if path is None:
        raise gr.Error("Give a film first.")
    made = Path(tempfile.mkdtemp(dir=folder))
    name = Path(path).name
    rows: list[Row] = []
    try:
        with Film(Path(path)) as source:
            film = FilmFile(made / "heads.mp4", source)
            try:
                poses = FilmPoses(estimator, source.rate, every=3, size=320, smoothing=OneEuro if smooth else None)
                for done, seen in enumerate(poses(read_ahead(source, film.sound)), start=1):
                    film.write(seen.frame, draw_heads(seen.frame.image, seen.heads, seen.people, drawing))
                    rows += film_rows(name, seen)
                    progress((done, source.expected or None), unit="frames")
                film.close()
            finally:
                film.discard()
            damage = source.damage
    except RankPoseError as error:
        raise gr.Error(str(error).replace(path, name)) from error
    if not rows:
        raise gr.Error(f"{name}: no frame could be read.")
    write_rows(made / "poses.csv", rows)
    people = len({row["person"] for row in rows if row["person"] is not None})
    frames = len({row["frame"] for row in rows})
    text = f"{frames} frames, {people} {'person' if people == 1 else 'people'}"
    return str(made / "heads.mp4"), str(made / "poses.csv"), f"{text}. {damage or ''}"


def _table(heads: Sequence[Head]) -> list[list[Any]]:
    rows = [row_of("", head, person, None, None) for person, head in enumerate(heads, start=1)]
    angles = ("yaw", "pitch", "roll")
    return [
        [row["person"], *(f"{row[name]:+.1f}" for name in angles), row["expected_error"], row["score"]] for row in rows
    ]


def _likenesses(heads: Sequence[Head]) -> np.ndarray:
    """(S, N * S, 3) uint8: the same rendered head at the pose of each of the first heads, in each person's colour."""
    tiles = []
    for person, head in enumerate(heads[:_LIKENESSES], start=1):
        image, _ = scenes.render(_mesh(30), np.array([head.yaw, head.pitch, head.roll]), _plain_scene())
        image = image.copy()
        image[-6:] = colour_of(person)
        tiles.append(image)
    return np.hstack(tiles)


@lru_cache
def _mesh(number: int) -> Mesh:
    return build_mesh(make_identity(number), Expression())


@lru_cache
def _plain_scene() -> scenes.Scene:
    """Even light before a plain ground, nothing in the way and a sharp picture."""
    plain: dict[str, Any] = {"distance_cm": 120.0, "box_side_px": 85.0, "box_right_px": 0.0, "box_down_px": 14.0}
    plain |= {"light": "overcast", "key_direction": (0.45, 0.55, 0.7), "background": "white"}
    plain |= {"key_strength": 0.5, "fill_strength": 0.2, "ambient": 0.5}
    plain |= dict.fromkeys(("key_colour", "sky_colour", "ground_colour", "white_balance"), (1.0, 1.0, 1.0))
    plain |= dict.fromkeys(("exposure", "contrast", "gamma", "saturation"), 1.0)
    plain |= dict.fromkeys(("rim_strength", "tint", "body_lean_deg"), 0.0)
    return replace(without_film(scenes.draw_scene(np.random.default_rng(0))), **plain)


def _examples(folder: Path) -> list[str]:
    """Pictures of rendered people; there is no photograph of anybody in this project."""
    paths = []
    for number, pose in _EXAMPLES:
        rng = np.random.default_rng(number)
        mesh = build_mesh(make_identity(number), draw_expression(rng))
        drawn = without_film(scenes.draw_scene(rng))
        image, _ = scenes.render(mesh, np.array(pose), drawn)
        path = folder / f"rendered_{number}.png"
        Image.fromarray(image).resize((384, 384), Image.Resampling.LANCZOS).save(path)
        paths.append(str(path))
    return paths
