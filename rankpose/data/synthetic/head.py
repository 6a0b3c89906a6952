"""Who is in the picture? Procedural heads: a person from a number, and a mesh of that person with an expression.

Nothing here comes from a scanned or licensed face model: every proportion is a hand-set number in `shape`, and the
68 landmarks are points on the surface that those numbers make.
"""

from dataclasses import replace

import numpy as np

from rankpose.data.synthetic import hair, parts, shape, skin
from rankpose.data.synthetic.mesh import Mesh
from rankpose.data.synthetic.surface import (
    Array,
    Patch,
    drop_unused,
    grid_normals,
    grid_patch,
    join,
    to_bytes,
    used_vertices,
)
from rankpose.data.synthetic.traits import COVERED, Expression, Identity, draw_expression, make_identity

__all__ = ["ATLAS", "Expression", "Identity", "build_mesh", "draw_expression", "make_identity"]

ATLAS = 512
"""Height and width of the texture, pixels."""


def build_mesh(identity: Identity, expression: Expression) -> Mesh:
    """The head of this person with this expression at zero pose.

    What the expression does not touch is made on the first call and kept in `identity.cache`.
    """
    cache = identity.cache
    if "fixed" not in cache:
        _prepare(identity)
    neutral: Array = cache["neutral"]
    bare = shape.express(identity, neutral, expression)
    landmarks = shape.sample_grid(bare, shape.landmark_places(identity, expression))
    points = hair.grow_beard(identity, bare)
    shown: Array = cache["shown"]
    face = replace(
        cache["face"],
        vertices=points.reshape(-1, 3)[shown],
        normals=grid_normals(points, closed=True).reshape(-1, 3)[shown],
    )
    whole = join([face, cache["fixed"]])
    return Mesh(
        vertices=whole.vertices,
        normals=whole.normals,
        uv=whole.uv,
        body=whole.body,
        faces=whole.faces,
        albedo=_albedo(identity, expression),
        landmarks=landmarks.astype(np.float32),
    )


def _prepare(who: Identity) -> None:
    """Fill the cache: the face without expression, all other parts, and the atlas."""
    cache = who.cache
    cache["neutral"] = shape.neutral_face(who)
    skull = shape.scalp(who)
    root = float(cache["neutral"][np.searchsorted(-shape.ROWS, 0.0), len(shape.COLUMNS) // 2, 2])
    others: list[Patch] = [*hair.build_hair(who, skull), *parts.build_torso(who), *parts.build_glasses(who, root)]
    if not (who.hair_style in ("hood", "headscarf") or (who.hair_style in ("long", "medium") and not who.ears_bare)):
        others += parts.build_ears(who)
    cache["fixed"] = join(others)
    face = grid_patch(cache["neutral"], skin.REGION)
    face.faces = face.faces[~_hidden(who).reshape(-1)[face.faces].all(1)]
    cache["shown"] = used_vertices(face.faces, len(face.vertices))[0]
    cache["face"] = drop_unused(face)
    atlas = np.full((ATLAS, ATLAS, 4), 128, np.uint8)
    for paint in (hair.paint_hair, hair.paint_cloth, parts.paint_ears, parts.paint_torso, parts.paint_glasses):
        paint(who, atlas)
    cache["skin"] = skin.paint_person(who)
    block = skin.REGION.of(atlas)
    block[..., :3] = to_bytes(cache["skin"])
    block[..., 3] = skin.gloss(who)
    cache["atlas"] = atlas


def _hidden(who: Identity) -> Array:
    """(rows, columns) bool: skin well under hair or hat, which need not be drawn."""
    y, angle = shape.REST_Y, np.broadcast_to(shape.COLUMNS, shape.REST_Y.shape)
    if who.hair_style == "bald":
        return np.zeros(y.shape, bool)
    hidden: Array = y > hair.hair_line(who, angle) + 1.2
    if who.hair_style in ("cap", "beanie", "hat"):
        hidden |= y > hair.hat_line(who, angle) + 0.8
    elif who.hair_style in COVERED:
        hidden |= np.abs(angle) > 1.6
    hidden |= (np.abs(angle) > 2.3) & (shape.ROWS[:, None] < -9.0)  # inside the neck
    return hidden


def _albedo(who: Identity, face: Expression) -> Array:
    """(ATLAS, ATLAS, 4) uint8 the person's atlas with eyes, brows and mouth of this expression."""
    atlas: Array = who.cache["atlas"].copy()
    block = skin.REGION.of(atlas)
    for window, colour in skin.paint_expression(who, face, who.cache["skin"]):
        block[window.rows, window.columns, :3] = to_bytes(colour)
    return atlas
