"""How does one picture come from factors that are said one by one? `render(person, pose, scene)`.

    person = draw_person(7)
    picture = render(person, (20.0, 0.0, 0.0), draw_scene(np.random.default_rng(0)))

Person, pose and scene are plain numbers and words, so two pictures can differ in one of them and in nothing else: take
`dataclasses.replace` of the scene or the expression, `Person.like` for the identity, and the first picture's camera for
the second, because a camera is otherwise aimed anew at each face. A row of `factors.parquet` gives all three back
(`described`): every picture of an embedded set can be drawn again.

What a change does not touch stays equal to the byte, as long as the film adds nothing (`without_film`): the background
where light, expression, skin or hair change, the head where the background does. The camera exposes by the light and by
the skin, so another skin or mouth makes the rest of the head a little brighter or darker, as in a photograph; the
background is lit by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rankpose.data.synthetic import hair, parts, poses, skin
from rankpose.data.synthetic import scene as scenes
from rankpose.data.synthetic.head import ATLAS, build_mesh, draw_expression, make_identity
from rankpose.data.synthetic.scene import Camera, Scene, draw_scene
from rankpose.data.synthetic.surface import Array
from rankpose.data.synthetic.traits import Expression, Identity
from rankpose.errors import DatasetError, first_line

__all__ = ["Camera", "Expression", "Identity", "Person", "Picture", "Scene", "described", "draw_expression",
           "draw_person", "draw_scene", "make_identity", "read_factors", "render", "without_film"]  # fmt: skip

BACKGROUND, SKIN, HAIR, EARS, BODY, GLASSES, HAT = range(7)
"""What a pixel of `Picture.parts` shows; brows, eyes, mouth and beard are on the skin."""
Row = TypeVar("Row", Expression, Scene)


@dataclass(frozen=True, eq=False)
class Person:
    """Who is seen, and what the face does."""

    identity: Identity
    """See `make_identity`."""
    expression: Expression = field(default_factory=Expression)

    def like(self, other: Identity, traits: tuple[str, ...]) -> "Person":
        """This person with some traits of another identity, by their names in `Identity`."""
        taken = {name: getattr(other, name) for name in traits}
        return replace(self, identity=replace(self.identity, cache={}, **taken))


@dataclass(frozen=True, eq=False)
class Picture:
    """What `render` gives."""

    image: Array
    """(192, 192, 3) uint8, red first, before JPEG."""
    landmarks: Array
    """(68, 2) float32 pixels in 300W-LP's order; those on the far side are where they would be."""
    parts: Array
    """(192, 192) uint8: `BACKGROUND`, `SKIN`, `HAIR`, `EARS`, `BODY`, `GLASSES` or `HAT`. What stands before the head
    (`Scene.occluder`) or ends the photograph (`Scene.edge`) is not in it."""
    camera: Camera
    """For another picture that must not be framed anew."""


def draw_person(seed: int, expression: Expression | None = None) -> Person:
    """The person with this number, with a neutral face unless said otherwise."""
    return Person(make_identity(seed), expression or Expression())


def render(person: Person, pose: ArrayLike, scene: Scene, camera: Camera | None = None) -> Picture:
    """One picture of explicit factors; the same factors give the same bytes.

    Args:
        person: identity and expression.
        pose: (3,) yaw, pitch, roll in degrees, by 300W-LP's convention.
        scene: light, camera, surroundings and film; `draw_scene` draws one, `dataclasses.replace` changes it.
        camera: of a picture before, so that the second of a pair is not framed anew; None aims at this face, as
            the embedded set does. Where the pose differs, leave it None: a pose is meant along the camera's axis.
    """
    angles = np.asarray(pose, float)
    mesh = build_mesh(person.identity, person.expression)
    aimed = camera or scenes.aim(mesh.landmarks, poses.label_to_rotation(angles), scene)[0]
    image, landmarks = scenes.render(mesh, angles, scene, aimed)
    column, row = np.moveaxis(np.rint(scenes.atlas_places(mesh, angles, scene, aimed)).astype(int), -1, 0)
    there = np.where(column < 0, np.uint8(BACKGROUND), _part_of_atlas()[row.clip(0, ATLAS - 1), column.clip(0)])
    return Picture(image, landmarks, there, aimed)


@lru_cache
def _part_of_atlas() -> Array:
    """(ATLAS, ATLAS) uint8: the part that each place of the atlas paints."""
    atlas = np.full((ATLAS, ATLAS), SKIN, np.uint8)
    for region, part in (
        (skin.REGION, SKIN),
        (hair.HAIR, HAIR),
        (hair.CLOTH, HAT),
        (parts.EAR, EARS),
        (parts.TORSO, BODY),
        (parts.FRAME, GLASSES),
        (parts.LENS, GLASSES),
    ):
        region.of(atlas)[:] = part
    return atlas


def without_film(drawn: Scene) -> Scene:
    """A scene with nothing before the face and nothing that blurs, cuts or roughens the picture."""
    return replace(
        drawn, occluder="none", edge="none", blur_px=0.0, motion_px=0.0, downscale=1.0, noise=0.0, dapple=0.0, haze=0.0
    )


def described(row: Mapping[str, Any] | pd.Series) -> tuple[Person, Array, Scene]:
    """Person, pose and scene of a row of `factors.parquet`, for `render`.

    Raises:
        DatasetError: a factor is missing.
    """
    try:
        person = Person(make_identity(int(row["identity_seed"])), _of(Expression, "expression", row))
        return person, np.array([row[angle] for angle in ("yaw", "pitch", "roll")], float), _of(Scene, "scene", row)
    except KeyError as error:
        raise DatasetError(f"factors: no column {error.args[0]}; the set was drawn by another version.") from None


def _of(kind: type[Row], prefix: str, row: Mapping[str, Any] | pd.Series) -> Row:
    """The dataclass whose `factors()` are in a row."""
    values: dict[str, Any] = {}
    for one in fields(kind):
        key = f"{prefix}_{one.name}"
        if f"{key}_0" in row:
            values[one.name] = tuple(float(row[f"{key}_{place}"]) for place in range(3))
        elif one.type is str:
            values[one.name] = str(row[key])
        else:
            # plain numbers: NumPy's own would make all that is computed with them twice as wide
            values[one.name] = int(row[key]) if one.type is int else float(row[key])
    return kind(**values)


def read_factors(root: str | Path, names: Any) -> pd.DataFrame | None:
    """What was drawn for each picture of an embedded set, in the order of its names.

    Args:
        root: the set's folder.
        names: (N,) paths of pictures below it.

    Returns:
        (N) rows, or None where the set has no factors, as photographs have none.

    Raises:
        DatasetError: the table cannot be read, or lacks a picture.
    """
    wanted = pd.Series([str(name) for name in names]).str.split("/", expand=False)
    folders = sorted({parts[0] for parts in wanted if len(parts) == 2})
    files = [Path(root, folder, "factors.parquet") for folder in folders]
    if not files or not all(file.is_file() for file in files):
        return None
    tables = []
    for file in files:
        try:
            table = pd.read_parquet(file)
        except Exception as error:  # pyarrow answers a damaged file with whatever its readers meet
            raise DatasetError(f"{file}: cannot be read ({first_line(error)}); draw the set again.") from error
        tables.append(table.set_index(file.parent.name + "/" + table["file"]))
    every = pd.concat(tables)
    order = ["/".join(parts) for parts in wanted]
    missing = next((name for name in order if name not in every.index), None)
    if missing is not None:
        raise DatasetError(f"{files[0]}: knows nothing of {missing}; draw the set again.")
    return every.loc[order].reset_index(drop=True)
