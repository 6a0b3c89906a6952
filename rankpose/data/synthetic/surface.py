"""How are smooth surfaces, noise and colour layers made? Small helpers shared by the parts of the procedural head."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray
"""Shorthand for annotations; shapes and units are in the docstrings."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the atlas, in pixels. Parts stay inside a margin of one pixel, so that nothing bleeds over."""

    left: int
    top: int
    width: int
    height: int

    def uv(self, across: ArrayLike, down: ArrayLike) -> Array:
        """(..., 2) float32 atlas column and row of a point at 0..1 across and 0..1 down the region."""
        column = self.left + 1 + np.asarray(across, np.float32) * (self.width - 3)
        row = self.top + 1 + np.asarray(down, np.float32) * (self.height - 3)
        return np.stack(np.broadcast_arrays(column, row), -1).astype(np.float32)

    def of(self, atlas: Array) -> Array:
        """The view of `atlas` that this region covers."""
        return atlas[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass
class Patch:
    """One part of a mesh; the fields are those of `Mesh`."""

    vertices: Array
    normals: Array
    uv: Array
    body: Array
    faces: Array


def smoothstep(low: float | Array, high: float | Array, value: Array) -> Array:
    """0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    t = np.asarray((value - low) / (high - low))
    np.clip(t, 0.0, 1.0, out=t)  # in place: this is most of the painting's time
    rise = t * -2.0
    rise += 3.0
    rise *= t
    rise *= t
    return rise


def bell(value: Array, width: float | Array) -> Array:
    """A Gaussian bump of height 1 and standard deviation `width`."""
    t: Array = np.asarray(value / width)
    t *= t
    t *= -0.5
    np.exp(t, out=t)
    return t


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float | tuple[float, float]) -> Array:
    """(rows, columns) float32 smooth noise of about unit deviation; `cell` is the size of a blob in pixels."""
    cell_rows, cell_columns = cell if isinstance(cell, tuple) else (cell, cell)
    rows, columns = (max(2, int(n / c) + 2) for n, c in zip(shape, (cell_rows, cell_columns), strict=True))
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def rgb(*values: float) -> Array:
    """(3, 1, 1) float32 colour that broadcasts over a (3, height, width) layer."""
    return np.array(values, np.float32)[:, None, None]


def blend(layer: Array, mask: Array, paint: Array) -> None:
    """Lay `paint` (as from `rgb`, or a layer) over the (3, height, width) layer in place, by the mask 0..1."""
    change = paint - layer
    change *= np.clip(mask, 0.0, 1.0).astype(np.float32, copy=False)
    layer += change


def darken(layer: Array, mask: Array) -> None:
    """Multiply the (3, height, width) layer by 1 - mask, in place."""
    layer *= (1.0 - np.clip(mask, 0.0, 0.95)).astype(np.float32, copy=False)


def to_bytes(layer: Array) -> Array:
    """(height, width, 3) uint8 of a (3, height, width) layer of 0..1."""
    pixels: Array = cv2.convertScaleAbs(cv2.merge(list(np.clip(layer, 0, 1))), alpha=255.0)
    return pixels


def grid_faces(rows: int, columns: int) -> Array:
    """(F, 3) int32 triangles of a grid, facing outward where rows run down and columns run to the right."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], 2).reshape(-1, 3)


def grid_normals(points: Array, closed: bool = False) -> Array:
    """(R, C, 3) float32 unit normals of a grid of points; `closed`: the last column is the first again."""
    down = np.empty_like(points)
    down[1:-1] = points[2:] - points[:-2]
    down[0], down[-1] = points[1] - points[0], points[-1] - points[-2]
    right = np.empty_like(points)
    right[:, 1:-1] = points[:, 2:] - points[:, :-2]
    if closed:
        right[:, 0] = right[:, -1] = points[:, 1] - points[:, -2]
    else:
        right[:, 0], right[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    normals = np.empty_like(points)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):  # np.cross is several times slower
        normals[..., k] = down[..., i] * right[..., j] - down[..., j] * right[..., i]
    length = np.sqrt(np.einsum("rck,rck->rc", normals, normals))
    normals /= np.maximum(length, 1e-9)[..., None]
    for pole, beside in ((0, 1), (-1, -2)):
        if length[pole].max() < 1e-7:
            normals[pole] = normals[beside].mean(0)
    flat = np.einsum("rck,rck->rc", normals, normals) < 0.5
    normals[flat] += (0, 0, 1)  # the inside of a shut mouth
    normals /= np.sqrt(np.einsum("rck,rck->rc", normals, normals))[..., None]
    return normals


def grid_patch(
    points: Array,
    region: Region,
    body: ArrayLike = 0.0,
    closed: bool = False,
    keep: Array | None = None,
    spread: tuple[Array, Array] | None = None,
) -> Patch:
    """A patch from an (R, C, 3) grid whose texture fills `region`; `keep` is an (R, C) mask of wanted points.

    Triangles with no wanted corner are left out. `spread`: where in the region columns and rows lie, 0..1; evenly
    unless given.
    """
    rows, columns = points.shape[:2]
    points = points.astype(np.float32)
    across, down = np.meshgrid(*(spread or (np.linspace(0, 1, columns), np.linspace(0, 1, rows))))
    faces = grid_faces(rows, columns)
    if keep is not None:
        faces = faces[keep.reshape(-1)[faces].any(1)]
    weight = np.broadcast_to(np.asarray(body, np.float32), (rows, columns))
    normals = grid_normals(points, closed).reshape(-1, 3)
    patch = Patch(points.reshape(-1, 3), normals, region.uv(across, down).reshape(-1, 2), weight.reshape(-1), faces)
    return patch if keep is None else drop_unused(patch)


def used_vertices(faces: Array, count: int) -> tuple[Array, Array]:
    """(n,) the vertices out of `count` that the triangles use, and the triangles renumbered to those."""
    used = np.zeros(count, bool)
    used[faces] = True
    new_index = (np.cumsum(used) - 1).astype(np.int32)
    return np.flatnonzero(used), new_index[faces]


def drop_unused(patch: Patch) -> Patch:
    """The same patch without the vertices that no triangle uses."""
    used, faces = used_vertices(patch.faces, len(patch.vertices))
    return Patch(patch.vertices[used], patch.normals[used], patch.uv[used], patch.body[used], faces)


def join(patches: list[Patch]) -> Patch:
    """All patches as one."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in patches[:-1]])
    return Patch(
        np.concatenate([p.vertices for p in patches]).astype(np.float32),
        np.concatenate([p.normals for p in patches]).astype(np.float32),
        np.concatenate([p.uv for p in patches]).astype(np.float32),
        np.concatenate([p.body for p in patches]).astype(np.float32),
        np.concatenate([p.faces + o for p, o in zip(patches, offsets, strict=True)]).astype(np.int32),
    )


def mirrored(patch: Patch) -> Patch:
    """The patch on the other side of the face, still facing outward."""
    flip = np.array([-1, 1, 1], np.float32)
    return Patch(patch.vertices * flip, patch.normals * flip, patch.uv, patch.body, patch.faces[:, ::-1])
