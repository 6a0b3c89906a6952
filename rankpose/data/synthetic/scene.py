"""How is a head seen? Light, camera, surroundings and film: everything in a picture that is not the person.

A picture is made in three steps. The mesh is rasterised twice: atlas coordinates finely (what is there), normals
coarsely (how it is lit, which varies slowly). Light is computed in linear units on the coarse grid and multiplied with
the fine albedo, over the background. Then the film: exposure, tone, blur, noise.

The camera looks at the middle of the face box, because a pose is meant along that ray: a face off its own viewing ray
has a wrong label, by degrees. The window that is cut out need not be centred: that moves the principal point only.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np

from rankpose.data.synthetic import background, poses
from rankpose.data.synthetic.mesh import Mesh

IMAGE_SIZE = 192
"""Height and width of a picture, pixels."""
_FINE = 224
_COARSE = 96
_SHADOW = 104
_SHADOW_REACH_CM = 23.0
_LAMP_CM = 150.0
_SHADOW_BIAS_CM = 0.7
_NECK_CM = np.array([0.0, -7.0, -2.0])
"""Where the head turns against the body."""
_FAR_CM = 2000.0
_LIGHTS = ("overcast", "window", "sun", "flash", "lamp", "backlight")
_LIGHT_SHARE = (0.26, 0.22, 0.17, 0.15, 0.12, 0.08)


@dataclass(frozen=True)
class Scene:
    """All that differs between two pictures of one person with one expression, but the pose.

    Directions are in the camera's frame (x right, y up, z towards the camera), colours are RGB factors near 1,
    strengths are linear light.
    """

    distance_cm: float
    box_side_px: float
    """Longer side of the landmarks' bounding box."""
    box_right_px: float
    box_down_px: float
    """Where the box's middle is, from the image's middle."""
    body_turn: float
    body_nod: float
    body_tilt: float
    """The share of the head's turn, nod, tilt that the body goes along with."""
    body_lean_deg: float
    light: str
    key_direction: tuple[float, float, float]
    key_strength: float
    key_colour: tuple[float, float, float]
    fill_direction: tuple[float, float, float]
    fill_strength: float
    rim_direction: tuple[float, float, float]
    rim_strength: float
    ambient: float
    sky_colour: tuple[float, float, float]
    ground_colour: tuple[float, float, float]
    shadow: float
    """How much of the key light a cast shadow takes, 0..1."""
    shadow_softness: float
    dapple: float
    """Uneven key light, as through leaves."""
    gloss: float
    shine: float
    """Exponent of the highlight."""
    exposure: float
    haze: float
    contrast: float
    gamma: float
    white_balance: tuple[float, float, float]
    saturation: float
    tint: float
    """Of a grey picture: 0 neutral, 1 sepia."""
    background: str
    background_blur_px: float
    background_gain: float
    occluder: str
    edge: str
    """A side where the photograph ends inside the picture, or none."""
    edge_fill: str
    edge_px: float
    blur_px: float
    motion_px: float
    downscale: float
    noise: float
    jpeg_quality: int
    seed: int
    """For the patterns: background, occluder, noise."""

    def factors(self) -> dict[str, float | int | str]:
        """Flat plain values, a triple as name_0, name_1, name_2."""
        flat: dict[str, float | int | str] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                flat.update({f"{field.name}_{i}": float(v) for i, v in enumerate(value)})
            else:
                flat[field.name] = value
        return flat


def draw_scene(rng: np.random.Generator) -> Scene:
    """A scene such as photographs of people have: kinds of light first, the rest follows from them."""
    light = str(rng.choice(_LIGHTS, p=_LIGHT_SHARE))
    key_direction, key, ambient, shadow, softness = _draw_key(rng, light)
    warmth = rng.normal(0, 0.1)
    rim = rng.uniform(0.4, 2.0) if light == "backlight" or rng.random() < 0.15 else 0.0
    mood = rng.choice([0.27, 0.52, 0.85, 1.25, 2.0], p=[0.06, 0.2, 0.46, 0.22, 0.06])
    kind = str(rng.choice(background.KINDS, p=_background_share(light, mood)))
    grey = rng.random() < 0.17
    coloured = rng.random() < 0.12
    with_body = rng.random() < 0.12  # the whole person turned, or the photograph itself tilted
    occluder = str(rng.choice(("none", *background.OCCLUDERS), p=[0.76, 0.1, 0.06, 0.05, 0.03]))
    edge = str(rng.choice(["none", "left", "right", "top", "bottom"], p=[0.87, 0.03, 0.03, 0.02, 0.05]))
    sharpness = rng.random()
    return Scene(
        distance_cm=float(np.exp(rng.uniform(np.log(90), np.log(600)))),
        box_side_px=float(rng.uniform(76, 92)),
        box_right_px=float(np.clip(rng.normal(0, 4.5), -12, 12)),
        box_down_px=float(np.clip(rng.normal(0, 4.5), -12, 12)),
        body_turn=1.0 if with_body else float(rng.uniform(-0.1, 0.85)),
        body_nod=0.9 if with_body else float(rng.uniform(-0.15, 0.5)),
        body_tilt=1.0 if with_body else float(rng.uniform(-0.3, 0.65)),
        body_lean_deg=float(rng.normal(4, 6)),
        light=light,
        key_direction=key_direction,
        key_strength=key,
        key_colour=_tinted(rng, warmth, 0.03),
        fill_direction=_direction(rng.normal(0, 60), rng.normal(5, 20)),
        fill_strength=float(key * rng.uniform(0, 0.4) * (rng.random() < 0.6)),
        rim_direction=_direction(rng.choice([-1, 1]) * rng.uniform(105, 165), rng.uniform(0, 55)),
        rim_strength=float(rim),
        ambient=ambient,
        sky_colour=_tinted(rng, -0.6 * warmth, 0.04),
        ground_colour=_tinted(rng, rng.normal(0.05, 0.06), 0.04, float(rng.uniform(0.15, 0.8))),
        shadow=shadow,
        shadow_softness=softness,
        dapple=float(rng.uniform(0.3, 0.9)) if light == "sun" and rng.random() < 0.35 else 0.0,
        gloss=float(rng.gamma(2.0, 0.32)),
        shine=float(rng.uniform(7, 30)),
        exposure=float(mood * np.exp(rng.normal(0, 0.16))),
        haze=float(rng.uniform(0.02, 0.14)) if rng.random() < 0.1 else 0.0,
        contrast=float(rng.uniform(1.1, 1.8)) if rng.random() < 0.92 else float(rng.uniform(1.8, 3.0)),
        gamma=float(rng.uniform(0.88, 1.2)),
        white_balance=_tinted(rng, rng.normal(0.02, 0.22 if coloured else 0.05), 0.1 if coloured else 0.02),
        saturation=0.0 if grey else float(np.clip(rng.normal(0.85, 0.25), 0.2, 1.6)),
        tint=float(rng.uniform(-0.5, 1)) if rng.random() < 0.35 else 0.0,
        background=kind,
        background_blur_px=float(np.exp(rng.uniform(np.log(0.5), np.log(9)))),
        background_gain=float(np.exp(rng.normal(-0.1, 0.35))),
        occluder=occluder,
        edge=edge,
        edge_fill=str(rng.choice(["black", "white", "stretched"], p=[0.65, 0.1, 0.25])),
        edge_px=float(rng.uniform(15, 70)),
        blur_px=float(rng.uniform(0.4, 1.5)) if sharpness < 0.18 else 0.0,
        motion_px=float(rng.uniform(2, 6)) if rng.random() < 0.04 else 0.0,
        downscale=float(rng.uniform(0.35, 0.85)) if sharpness > 0.84 else 1.0,
        noise=float(rng.gamma(1.0, 0.008)),
        jpeg_quality=int(rng.integers(60, 96)),
        seed=int(rng.integers(2**31)),
    )


def render(mesh: Mesh, pose: np.ndarray, scene: Scene, camera: "Camera | None" = None) -> tuple[np.ndarray, np.ndarray]:
    """One picture of a head at `pose` (yaw, pitch, roll in degrees).

    Returns the picture, (192, 192, 3) uint8 **RGB** before JPEG, and the 68 landmarks in it, (68, 2) float32, column
    and row with pixel centres at whole numbers; landmarks on the far side are where they would be, as in 300W-LP.

    `camera` is one that has been aimed before, at another picture of the same pair; None aims it at this head.
    """
    rng = np.random.default_rng(scene.seed)
    rotation = poses.label_to_rotation(pose)
    camera, landmarks = _aimed(mesh, rotation, scene, camera)
    vertices, normals = _pose_mesh(mesh, rotation, scene)
    vertices -= camera.target
    colour, cover, depth, normal = _rasterise(mesh, vertices, normals, camera)
    area = _covered(depth)
    light = _light(rng, mesh, vertices, normals, normal[area], depth[area], area, camera, scene)
    image = background.draw_background(rng, scene.background, IMAGE_SIZE, scene.background_blur_px)
    image *= image  # to linear light, as good as the exact curve here
    image *= np.float32(scene.background_gain)
    _compose(image, colour, cover, light, area, landmarks[30], scene)
    if scene.occluder != "none":
        background.draw_occluder(rng, scene.occluder, image, landmarks, np.array(scene.key_direction))
    return _develop(rng, image, scene), landmarks


def atlas_places(mesh: Mesh, pose: np.ndarray, scene: Scene, camera: "Camera | None" = None) -> np.ndarray:
    """Which place of the mesh's atlas each pixel of `render` shows: (192, 192, 2) float32 column and row, else -1."""
    rotation = poses.label_to_rotation(pose)
    camera, _ = _aimed(mesh, rotation, scene, camera)
    vertices, normals = _pose_mesh(mesh, rotation, scene)
    vertices -= camera.target
    # a thin strand may lie between the middles of pixels: four places of each, the first that shows something
    fine = _places(mesh, *_in_view(mesh, vertices, normals, camera), 2 * IMAGE_SIZE)[0][..., :2]
    found = fine[::2, ::2].copy()
    for down, right in ((0, 1), (1, 0), (1, 1)):
        np.copyto(found, fine[down::2, right::2], where=found < 0)
    return found


def _aimed(mesh: Mesh, rotation: np.ndarray, scene: Scene, camera: "Camera | None") -> tuple["Camera", np.ndarray]:
    if camera is None:
        return aim(mesh.landmarks, rotation, scene)
    return camera, camera.project(mesh.landmarks @ rotation.T)


@dataclass(frozen=True)
class Camera:
    """A pinhole looking along -z at `target`, from `distance_cm`."""

    target: np.ndarray
    """(3,) centimetres, in the frame of the turned head: the middle of the face box as seen."""
    distance_cm: float
    focal: float
    """Pixels per unit of x over distance, for an image `IMAGE_SIZE` wide."""
    shift_px: tuple[float, float]
    """Where the target is in the image, right and down of its middle."""

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) turned points in centimetres -> (N, 2) float32 pixels."""
        seen = points - self.target
        over = self.focal / (self.distance_cm - seen[:, 2])
        middle = (IMAGE_SIZE - 1) / 2
        column = middle + self.shift_px[0] + seen[:, 0] * over
        row = middle + self.shift_px[1] - seen[:, 1] * over
        return np.stack([column, row], 1).astype(np.float32)


def aim(landmarks: np.ndarray, rotation: np.ndarray, scene: Scene) -> tuple[Camera, np.ndarray]:
    """Point the camera at the face box of a turned head; also the landmarks in the image, (68, 2) pixels."""
    turned = landmarks @ rotation.T
    target = (turned.min(0) + turned.max(0)) / 2
    target[2] = turned[:, 2].mean()
    for _ in range(3):  # perspective moves the box as the camera moves: converges at once
        over = 1 / (scene.distance_cm - (turned[:, 2] - target[2]))
        seen = (turned[:, :2] - target[:2]) * over[:, None]
        low, high = seen.min(0), seen.max(0)
        target[:2] += (low + high) / 2 * scene.distance_cm
    focal = scene.box_side_px / (high - low).max()
    camera = Camera(target, scene.distance_cm, float(focal), (scene.box_right_px, scene.box_down_px))
    return camera, camera.project(turned)


def _direction(azimuth_deg: float, elevation_deg: float) -> tuple[float, float, float]:
    """Unit vector: azimuth 0 at the camera, 90 to the right; elevation up."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    x, z = np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation)
    return (float(x), float(np.sin(elevation)), float(z))


def _tinted(rng: np.random.Generator, warmth: float, spread: float, gain: float = 1.0) -> tuple[float, float, float]:
    """A colour near white: `warmth` > 0 is orange, < 0 blue."""
    colour = gain * np.exp(warmth * np.array([1.0, 0.05, -1.1]) + rng.normal(0, spread, 3))
    return (float(colour[0]), float(colour[1]), float(colour[2]))


def _draw_key(rng: np.random.Generator, light: str) -> tuple[tuple[float, float, float], float, float, float, float]:
    """Direction and strength of the main light, the ambient's strength, how deep and how soft shadows are."""
    side = rng.choice([-1, 1])
    if light == "overcast":
        return _direction(rng.normal(0, 60), rng.uniform(35, 80)), rng.uniform(0.1, 0.5), rng.uniform(0.6, 1), 0.0, 2.5
    if light == "window":
        return _direction(side * rng.uniform(25, 95), rng.normal(15, 12)), 1.0, rng.uniform(0.05, 0.4), 0.85, 1.8
    if light == "sun":
        angle = rng.uniform(-110, 110)
        return _direction(angle, rng.uniform(20, 65)), rng.uniform(1, 1.6), rng.uniform(0.12, 0.4), 1.0, 0.5
    if light == "flash":
        return _direction(rng.normal(0, 9), rng.uniform(-3, 18)), 1.0, rng.uniform(0.03, 0.3), 0.9, 0.6
    if light == "lamp":  # one hard light in a dark room, also from above or below
        return _direction(rng.normal(0, 65), rng.normal(30, 35)), 1.0, rng.uniform(0.01, 0.1), 1.0, 0.8
    return _direction(side * rng.uniform(110, 160), rng.uniform(10, 50)), 1.0, rng.uniform(0.2, 0.7), 0.9, 1.0


def _background_share(light: str, mood: float) -> np.ndarray:
    """Probabilities of `background.KINDS`: dark pictures have dark backgrounds, a backlight has a bright one."""
    share = dict.fromkeys(background.KINDS, 1.0)
    share.update(plain=2.2, blotches=1.6, room=1.6, outdoor=1.6, stripes=0.5, lights=0.6, people=1.0)
    share["black"] = 2.6 if light == "lamp" else 0.9
    share["white"] = 2.0 if light == "backlight" or mood > 1.0 else 0.6
    if mood < 0.5:
        share["black"] *= 2
    if light == "sun":
        share["outdoor"] *= 3
    weights = np.array([share[kind] for kind in background.KINDS])
    return np.asarray(weights / weights.sum())


def _body_rotation(head: np.ndarray, scene: Scene) -> np.ndarray:
    """(3, 3): the body goes part of the way with the head and stays mostly upright."""
    turn, nod, tilt = poses.rotation_to_natural(head)
    return poses.natural_to_rotation(
        turn * scene.body_turn, nod * scene.body_nod - scene.body_lean_deg, tilt * scene.body_tilt
    )


def _pose_mesh(mesh: Mesh, head: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) float32 turned vertices and normals: the head by its rotation, the body by its own."""
    body = _body_rotation(head, scene)
    head32, body32 = head.astype(np.float32), body.astype(np.float32)
    vertices, normals = mesh.vertices @ head32.T, mesh.normals @ head32.T
    loose = np.flatnonzero(mesh.body > 0)
    weight = mesh.body[loose, None]
    # Around the neck joint, which moves with the head.
    offset = (_NECK_CM @ head.T - _NECK_CM @ body.T).astype(np.float32)
    vertices[loose] += weight * (mesh.vertices[loose] @ body32.T + offset - vertices[loose])
    normals[loose] += weight * (mesh.normals[loose] @ body32.T - normals[loose])
    return vertices, normals


def _settings() -> "cv2.TriangleRasterizeSettings":
    """A fresh object draws plain white: both properties must be set on one that has a name."""
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    return settings


def _facing(faces: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """The faces of which a corner faces the viewer; `towards` (V,) is the cosine there."""
    front = towards > -0.15
    keep = front.take(faces[:, 0]) | front.take(faces[:, 1]) | front.take(faces[:, 2])
    return np.compress(keep, faces, axis=0)


def _rasterise(
    mesh: Mesh, vertices: np.ndarray, normals: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the turned mesh.

    Returns albedo and gloss, (192, 192, 4) float32 linear and zero where uncovered; how much of a pixel is covered,
    (192, 192) float32; depth, (96, 96) float32 cm from the camera; normals, (96, 96, 3) float32.
    """
    sheared, faces, view = _in_view(mesh, vertices, normals, camera)
    places, depth = _places(mesh, sheared, faces, view, _FINE)
    column, row = cv2.extractChannel(places, 0), cv2.extractChannel(places, 1)
    texels = cv2.remap(
        mesh.albedo, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0)
    )
    shape = (IMAGE_SIZE, IMAGE_SIZE)
    covered = np.multiply(depth < _FAR_CM * 0.99, 255, dtype=np.uint8)
    # Averaging sRGB bytes makes an outline's colour darker than averaging light would, as if less of it were covered:
    # the same table for the cover makes up for it.
    table = _linear_table()
    colour = cv2.LUT(cv2.resize(texels, shape, interpolation=cv2.INTER_LINEAR), table)
    cover = cv2.LUT(cv2.resize(covered, shape, interpolation=cv2.INTER_LINEAR), table[..., 0])

    normal = np.zeros((_COARSE, _COARSE, 3), np.float32)
    coarse = np.full((_COARSE, _COARSE), _FAR_CM, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(sheared, faces, normals, normal, coarse, eye, view, 5.0, _FAR_CM, _settings())
    return colour, cover, coarse, normal


def _in_view(
    mesh: Mesh, vertices: np.ndarray, normals: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, float]:
    """What OpenCV is to draw: vertices in its frame, the faces that may be seen, its angle of view in radians."""
    away = camera.distance_cm - vertices[:, 2]
    # OpenCV's view is symmetric about its axis: shearing moves the window without turning the camera.
    right, down = (shift / camera.focal for shift in camera.shift_px)
    sheared = np.stack([vertices[:, 0] + away * right, vertices[:, 1] - away * down, -away], 1, dtype=np.float32)
    towards = (normals[:, 2] * camera.distance_cm - np.einsum("vc,vc->v", normals, vertices)) / camera.distance_cm
    return sheared, _facing(mesh.faces, towards), float(2 * np.arctan(IMAGE_SIZE / 2 / camera.focal))


def _places(
    mesh: Mesh, sheared: np.ndarray, faces: np.ndarray, view: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Atlas places, (size, size, 3) float32 with -1 where there is nothing, and depth, (size, size) float32 cm."""
    places = np.empty((size, size, 3), np.float32)
    places[:] = -1
    depth = np.full((size, size), _FAR_CM, np.float32)
    corner = np.concatenate([mesh.uv, np.ones((len(mesh.uv), 1), np.float32)], 1)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(sheared, faces, corner, places, depth, eye, view, 5.0, _FAR_CM, _settings())
    return places, depth


@lru_cache
def _linear_table() -> np.ndarray:
    """(1, 256, 4) float32: sRGB byte to linear light for the colours, byte to 0..1 for gloss."""
    byte = np.linspace(0, 1, 256, dtype=np.float32)
    return np.stack([byte**2.2] * 3 + [byte], -1)[None]


def _covered(depth: np.ndarray) -> tuple[slice, slice]:
    """The coarse grid's rows and columns that the head is in, with a margin."""
    seen = depth < _FAR_CM * 0.99
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return (
        slice(max(int(rows[0]) - 3, 0), min(int(rows[-1]) + 4, _COARSE)),
        slice(max(int(columns[0]) - 3, 0), min(int(columns[-1]) + 4, _COARSE)),
    )


def _light(
    rng: np.random.Generator,
    mesh: Mesh,
    vertices: np.ndarray,
    normals: np.ndarray,
    normal: np.ndarray,
    depth: np.ndarray,
    area: tuple[slice, slice],
    camera: Camera,
    scene: Scene,
) -> np.ndarray:
    """Light that arrives and highlight, on the coarse grid within `area`: (h, w, 4) float32."""
    seen = (depth < _FAR_CM * 0.99).astype(np.float32)
    key = np.array(scene.key_direction)
    halfway = key + np.array([0.0, 0.0, 1.0])
    halfway /= max(float(np.linalg.norm(halfway)), 0.2)
    rays = np.array([key, scene.fill_direction, scene.rim_direction, halfway], np.float32)
    across, up, out = cv2.split(np.ascontiguousarray(normal))
    shrink = 1 / (cv2.magnitude(cv2.magnitude(across, up), out) + np.float32(1e-6))
    to_key, to_fill, to_rim, to_halfway = (plane * shrink for plane in cv2.split(cv2.transform(normal, rays)))
    up *= shrink
    out *= shrink

    shade = np.ones_like(depth)
    if scene.shadow > 0:
        lit = _unshadowed(mesh, vertices, normals, depth, area, camera, key)
        sigma = 0.4 + scene.shadow_softness
        lit = cv2.GaussianBlur(lit * seen, (0, 0), sigma) / (cv2.GaussianBlur(seen, (0, 0), sigma) + 1e-4)
        shade = 1 - np.float32(scene.shadow) * (1 - lit)
    if scene.dapple > 0:
        pattern = background.smooth_noise(rng, max(depth.shape), rng.uniform(6, 18))[: depth.shape[0], : depth.shape[1]]
        shade = shade * np.clip(1 - np.float32(scene.dapple) * (0.5 + 2.5 * pattern), 1 - scene.dapple, 1)
    key_light = shade * np.float32(scene.key_strength)

    creases = _ambient_reach(depth, seen)
    sky = np.float32(0.5) + np.float32(0.5) * up
    fill = np.float32(scene.fill_strength) * np.maximum(to_fill, 0)
    rim = np.float32(scene.rim_strength) * np.maximum(to_rim, 0)
    planes = []
    for channel in range(3):
        # Skin scatters red light furthest, so a shadow's edge is reddish.
        wrap = (0.22, 0.1, 0.06)[channel]
        ground = np.float32(scene.ground_colour[channel] * scene.ambient)
        ambient = (ground + (np.float32(scene.sky_colour[channel] * scene.ambient) - ground) * sky) * creases
        diffuse = np.maximum(to_key + np.float32(wrap), 0) * np.float32(1 / (1 + wrap)) * key_light
        planes.append(ambient + (diffuse + rim) * np.float32(scene.key_colour[channel]) + fill)
    grazing = np.square(np.square(1 - np.clip(out, 0, 1)))
    highlight = cv2.pow(np.clip(to_halfway, 0, 1), scene.shine) * key_light * np.float32(0.25 + scene.shine / 60)
    planes.append(np.float32(scene.gloss) * (highlight + np.float32(0.25 * scene.ambient) * grazing * creases))

    # Pixels at the outline get the light of their neighbours, not of the empty space beside them.
    nothing = seen == 0
    share = 1 / (cv2.blur(seen, (7, 7)) + np.float32(1e-4))
    for plane in planes:
        np.copyto(plane, cv2.blur(plane * seen, (7, 7)) * share, where=nothing)
    # Along the jaw a coarse pixel may show the shaded neck where the image shows the cheek: softened, that is no
    # dotted line.
    return np.asarray(cv2.GaussianBlur(cv2.merge(planes), (3, 3), 0.8))


def _ambient_reach(depth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How much of the surroundings a pixel sees, 0..1: less where its neighbours stand nearer to the camera."""
    near = np.minimum(depth, depth[seen > 0].max())
    sigma = 0.04 * _COARSE
    around = cv2.GaussianBlur(near * seen, (0, 0), sigma) / (cv2.GaussianBlur(seen, (0, 0), sigma) + 1e-3)
    behind = np.clip((near - around - np.float32(0.3)) / 3.5, 0, 1)
    return np.asarray(1 - np.float32(0.6) * behind)


def _unshadowed(
    mesh: Mesh,
    vertices: np.ndarray,
    normals: np.ndarray,
    depth: np.ndarray,
    area: tuple[slice, slice],
    camera: Camera,
    towards_light: np.ndarray,
) -> np.ndarray:
    """(h, w) float32: 1 where the key light reaches, 0 behind something, by the depth seen from the light."""
    right = np.cross([0.0, 1.0, 0.1], towards_light)
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(towards_light, right), towards_light]).astype(np.float32)
    from_light = vertices @ frame.T
    from_light[:, 2] -= np.float32(_LAMP_CM)
    nearest = np.full((_SHADOW, _SHADOW), _FAR_CM, np.float32)
    view = 2 * np.arctan(_SHADOW_REACH_CM / _LAMP_CM)
    faces = _facing(mesh.faces, normals @ towards_light.astype(np.float32))
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterizeDepth(from_light, faces, nearest, eye, view, 5.0, _FAR_CM, _settings())

    # Back from pixel and depth to the place in space, then to the light's own pixels.
    scale = IMAGE_SIZE / _COARSE / camera.focal
    middle = (_COARSE - 1) / 2
    rows = np.arange(area[0].start, area[0].stop, dtype=np.float32)[:, None] - middle
    columns = np.arange(area[1].start, area[1].stop, dtype=np.float32)[None, :] - middle
    x = (columns * np.float32(scale) - np.float32(camera.shift_px[0] / camera.focal)) * depth
    y = (-rows * np.float32(scale) + np.float32(camera.shift_px[1] / camera.focal)) * depth
    place = cv2.merge([x, y, np.float32(camera.distance_cm) - depth])
    lamp = cv2.transform(place, frame)
    away = np.float32(_LAMP_CM) - lamp[..., 2]
    pixel = np.float32(_SHADOW / 2 / (_SHADOW_REACH_CM / _LAMP_CM))
    column = lamp[..., 0] / away * pixel + np.float32((_SHADOW - 1) / 2)
    row = np.float32((_SHADOW - 1) / 2) - lamp[..., 1] / away * pixel
    limit = away - np.float32(_SHADOW_BIAS_CM)
    lit = np.zeros_like(depth)
    for step_right, step_down in ((-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4)):
        found = cv2.remap(
            nearest,
            column + np.float32(step_right),
            row + np.float32(step_down),
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_FAR_CM,
        )
        lit += found > limit
    return lit * np.float32(0.25)


def _compose(
    image: np.ndarray,
    colour: np.ndarray,
    cover: np.ndarray,
    light: np.ndarray,
    area: tuple[slice, slice],
    face_middle: np.ndarray,
    scene: Scene,
) -> None:
    """Put the lit head over the background, in place; linear light."""
    ratio = IMAGE_SIZE // _COARSE
    out = tuple(slice(part.start * ratio, part.stop * ratio) for part in area)
    fine = cv2.resize(light, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR)
    gain = scene.exposure / _metered(colour, face_middle, scene)
    window = image[out]
    lit = cv2.multiply(np.ascontiguousarray(colour[out]), fine, scale=gain)
    red, green, blue, shine = cv2.split(lit)
    clear = 1 - cover[out]
    window *= cv2.merge([clear, clear, clear])
    window += cv2.merge([red + shine, green + shine, blue + shine])


def _metered(colour: np.ndarray, place: np.ndarray, scene: Scene) -> float:
    """The light that the camera's automatic exposure reckons with, from the kind of light and partly from the skin."""
    front = max(scene.key_direction[2], 0.0)
    light = 0.75 * scene.ambient + scene.key_strength * (0.2 + 0.6 * front) + 0.4 * scene.fill_strength
    column, row = int(place[0]), int(place[1])
    skin = float(colour[row - 12 : row + 12, column - 12 : column + 12, 1].mean())
    return float(light * (max(skin, 0.03) / 0.3) ** 0.45)


def _develop(rng: np.random.Generator, image: np.ndarray, scene: Scene) -> np.ndarray:
    """Linear light to a photograph, (192, 192, 3) uint8: tone, colour, sharpness, noise, and where it ends."""
    # Square-rooted light in a byte reaches 2.25 times white; the rest of the curve is a table.
    coded = cv2.sqrt(np.minimum(image, 2.25, out=image))
    photo = cv2.LUT(cv2.convertScaleAbs(coded, alpha=170.0), _tone_table(scene))
    if scene.saturation != 1.0:
        luma = np.array([[0.299, 0.587, 0.114]])
        mix = scene.saturation * np.eye(3) + (1 - scene.saturation) * np.repeat(luma, 3, 0)
        if scene.saturation == 0.0:
            mix *= np.exp(scene.tint * np.array([[0.1], [0.0], [-0.18]]))
        photo = cv2.transform(photo, mix)
    photo = _soften(rng, photo, scene)
    if scene.noise > 0.002:
        grain = rng.standard_normal((IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
        if scene.downscale < 1:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.7) * np.float32(1.6)
        grain *= np.float32(255 * scene.noise)
        photo = cv2.add(photo, cv2.merge([grain] * 3), dtype=cv2.CV_8U)
    return _end_photograph(photo, scene)


def _tone_table(scene: Scene) -> np.ndarray:
    """(1, 256, 3) uint8: haze, white balance, soft shoulder, gamma and contrast for square-rooted light * 170."""
    light = np.square(np.arange(256, dtype=np.float64) / 170.0)[:, None] + scene.haze
    light = light * np.array(scene.white_balance)
    light = light / (1 + light**3) ** (1 / 3)
    display = light ** (scene.gamma / 2.2)
    # An S about the middle grey that keeps black and white in range.
    pivot = 0.48
    bent = np.where(
        display < pivot,
        pivot * (display / pivot) ** scene.contrast,
        1 - (1 - pivot) * (np.maximum(1 - display, 0) / (1 - pivot)) ** scene.contrast,
    )
    return np.asarray(np.clip(bent, 0, 1) * 255 + 0.5).astype(np.uint8)[None]


def _soften(rng: np.random.Generator, photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Lens, hand and resolution."""
    # No lens draws the stairs of a rasteriser's outline.
    photo = cv2.GaussianBlur(photo, (0, 0), scene.blur_px) if scene.blur_px else cv2.GaussianBlur(photo, (3, 3), 0.5)
    if scene.motion_px > 0:
        length = int(scene.motion_px) * 2 + 1
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        reach = np.array([np.cos(angle), np.sin(angle)]) * scene.motion_px / 2
        middle = length // 2
        start, end = (np.rint(middle - reach)).astype(int), (np.rint(middle + reach)).astype(int)
        cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
        photo = cv2.filter2D(photo, -1, kernel / kernel.sum())
    if scene.downscale < 1:
        side = int(IMAGE_SIZE * scene.downscale)
        small = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
        photo = cv2.resize(small, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC)
    return photo


def _end_photograph(photo: np.ndarray, scene: Scene) -> np.ndarray:
    """Where the picture reaches past the photograph's edge there is black, white, or the last row again and again."""
    if scene.edge == "none":
        return photo
    turns = ("top", "right", "bottom", "left").index(scene.edge)
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    width = int(scene.edge_px)
    if scene.edge_fill == "stretched":
        turned[:width] = turned[width]
    else:
        turned[:width] = 255 if scene.edge_fill == "white" else 0
    return np.ascontiguousarray(np.rot90(turned, -turns))
