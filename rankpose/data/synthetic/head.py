"""Who is in the picture? Procedural heads: a person from a number, and a mesh of that person with an expression.

Nothing here comes from a scanned or licensed face model: every proportion is a hand-set number in `shape`, and the
68 landmarks are points on the surface that those numbers make.
"""

import numpy as np

from rankpose.data.synthetic import hair, parts, shape, skin
from rankpose.data.synthetic.mesh import Mesh
from rankpose.data.synthetic.surface import Array, Patch, drop_unused, grid_patch, join, to_bytes
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
    face = grid_patch(hair.grow_beard(identity, bare), skin.REGION, closed=True)
    face.faces = cache["visible faces"]
    whole = join([drop_unused(face), cache["fixed"]])
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
    faces = grid_patch(cache["neutral"], skin.REGION).faces
    cache["visible faces"] = faces[~_hidden(who).reshape(-1)[faces].all(1)]
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
    hidden = y > hair.hair_line(who, angle) + 1.2
    if who.hair_style in ("cap", "beanie", "hat"):
        hidden |= y > hair.hat_line(who, angle) + 0.8
    elif who.hair_style in COVERED:
        hidden |= np.abs(angle) > 1.6
    return hidden | ((np.abs(angle) > 2.3) & (shape.ROWS[:, None] < -9.0))  # the last inside the neck


def _albedo(who: Identity, face: Expression) -> Array:
    """(ATLAS, ATLAS, 4) uint8 the person's atlas with eyes, brows and mouth of this expression."""
    atlas: Array = who.cache["atlas"].copy()
    block = skin.REGION.of(atlas)
    for window, colour in skin.paint_expression(who, face, who.cache["skin"]):
        block[window.rows, window.columns, :3] = to_bytes(colour)
    return atlas
