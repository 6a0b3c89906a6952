"""What does BIWI's folder look like? A small one with rendered heads, for tests and for users without the data.

    python tests/biwi_tree.py OUT [--sequences 01 02 03] [--frames 6] [--seed 0]

Names, sizes and text formats are the original's, and the people of its recordings are kept (`03` and `15` show the
same head). Depth images are not made. The two cameras stand 3 degrees askew, twice as much as the original's, so that
labels in the one's frame and the other's can be told apart.

The pictures are exact. A renderer's camera looks straight at the face; turning a camera about its own centre is a
homography, so the rendered window is warped into the view of the colour camera, which looks past the head. The pose in
the colour camera's frame is what the picture then shows, and the labels of the depth camera follow from it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from rankpose.data.readers.biwi import FLIP_Y_AND_Z, PERSONS, Camera
from rankpose.data.synthetic import poses, scene
from rankpose.data.synthetic.head import build_mesh, draw_expression, make_identity
from rankpose.data.synthetic.mesh import Mesh
from rankpose.errors import DatasetError, one_line_errors

WIDTH, HEIGHT = 640, 480
HEAD_CENTRE_CM = np.array([0.0, -4.0, 0.0])
"""The point of the mesh that the pose files give: in the middle of the head, at the height of the nose."""
_FIRST_FRAME = 3
_TURN_DEG = np.array([50.0, 30.0, 20.0])
"""How far heads turn at most, yaw, pitch and roll."""
_NEAREST_MM, _FARTHEST_MM = np.array([-90.0, -60.0, 850.0]), np.array([90.0, 30.0, 1050.0])
"""Between which places faces are, in the colour camera's frame."""
_SKEW_DEG = 3.0
_FOCAL_PX = {"rgb": 517.679, "depth": 575.816}


@dataclass(frozen=True)
class DrawnFrame:
    """A frame of the folder, and what is known about it beyond its files."""

    name: str
    """Such as `01/frame_00003_rgb.png`."""
    pose: np.ndarray
    """(3,) yaw, pitch, roll, degrees, in the colour camera's frame: what the picture shows."""
    seen: np.ndarray
    """(3,) the same in the frame of a camera that looks straight at the face: what a crop of it shows."""
    landmarks: np.ndarray
    """(68, 2) pixels: where the renderer drew them."""
    shape: np.ndarray
    """(68, 3) the landmarks at zero pose about the head's centre, millimetres (x right, y up, z towards the camera)."""


def write_biwi(root: str | Path, sequences: Sequence[str], frames: int, seed: int = 0) -> list[DrawnFrame]:
    """Makes a folder in BIWI's layout; the same arguments make the same folder.

    Args:
        root: where `01` and so on will be.
        sequences: recordings to make, of `01` to `24`.
        frames: pictures of each.
        seed: decides heads, cameras, poses and light.

    Returns:
        All frames, in order.

    Raises:
        DatasetError: no such recording in BIWI, or one of that name is there already.
    """
    drawn = []
    for sequence in sequences:
        folder = Path(root) / sequence
        if sequence not in PERSONS:
            raise DatasetError(f"{folder}: BIWI has no recording {sequence}; its recordings are 01 to 24.")
        if folder.exists():
            raise DatasetError(f"{folder}: exists; give a folder that does not hold this recording yet.")
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, int(sequence)])
        camera = _draw_camera(rng)
        _write_calibration(folder / "rgb.cal", camera)
        depth = np.array([[_FOCAL_PX["depth"], 0, 320], [0, _FOCAL_PX["depth"], 240], [0, 0, 1]])
        _write_calibration(folder / "depth.cal", Camera(depth, np.zeros(4), np.eye(3), np.zeros(3)))
        mesh, room = _draw_person(PERSONS[sequence], seed), _draw_room(rng)
        for number in range(_FIRST_FRAME, _FIRST_FRAME + frames):
            name = f"{sequence}/frame_{number:05d}_rgb.png"
            picture, frame = _draw_frame(rng, name, mesh, room, camera, folder / f"frame_{number:05d}_pose.txt")
            _, packed = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            (Path(root) / name).write_bytes(packed.tobytes())
            drawn.append(frame)
    return drawn


def _draw_person(person: str, seed: int) -> Mesh:
    """The head of one of BIWI's people, by whatever recording it is asked for."""
    rng = np.random.default_rng([seed, 1000 + sorted(set(PERSONS.values())).index(person)])
    return build_mesh(make_identity(int(rng.integers(2**31))), draw_expression(rng))


def _draw_camera(rng: np.random.Generator) -> Camera:
    """A colour camera about 25 mm beside the depth camera, a little askew."""
    intrinsics = np.array([[_FOCAL_PX["rgb"], 0, 320], [0, _FOCAL_PX["rgb"], 240.5], [0, 0, 1]])
    axis = rng.normal(size=3)
    askew = Rotation.from_rotvec(_SKEW_DEG * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    return Camera(intrinsics, np.zeros(4), askew, np.array([-25.0, 0, 0]) + rng.normal(0, 3, 3))


def _write_calibration(path: Path, camera: Camera) -> None:
    """The original's text format."""
    blocks = [camera.intrinsics, camera.distortion, camera.rotation, camera.translation, np.array([WIDTH, HEIGHT])]
    path.write_text("\n\n".join(map(_rows, blocks)) + "\n", encoding="utf-8")


def _rows(numbers: np.ndarray) -> str:
    """A line a row, six digits as in the original."""
    return "\n".join(" ".join(f"{number:g}" for number in row) for row in np.atleast_2d(numbers))


def _draw_room(rng: np.random.Generator) -> scene.Scene:
    """A room with a plain wall, in even light, sharp."""
    return replace(
        scene.draw_scene(rng),
        box_side_px=54.0,  # small enough that hair and shoulders are within the window
        box_right_px=0.0,
        box_down_px=0.0,
        key_direction=(0.4, 0.5, 0.77),
        key_strength=0.6,
        ambient=0.7,
        rim_strength=0.0,
        shadow=0.3,
        dapple=0.0,
        exposure=0.85,
        haze=0.0,
        contrast=1.2,
        saturation=0.85,
        background="plain",
        background_gain=1.0,
        occluder="none",
        edge="none",
        blur_px=0.0,
        motion_px=0.0,
        downscale=1.0,
        noise=0.004,
    )


def _draw_frame(
    rng: np.random.Generator, name: str, mesh: Mesh, room: scene.Scene, camera: Camera, pose_file: Path
) -> tuple[np.ndarray, DrawnFrame]:
    """The picture, (480, 640, 3) RGB, and its truth; writes the pose file."""
    place = rng.uniform(_NEAREST_MM, _FARTHEST_MM)
    distance = float(np.linalg.norm(place))
    view = poses.label_to_rotation(rng.uniform(-_TURN_DEG, _TURN_DEG))  # as the camera that looks at the face sees it
    drawn = replace(room, distance_cm=distance / 10)
    window, landmarks = scene.render(mesh, poses.rotation_to_label(view), drawn)
    aimed, _ = scene.aim(mesh.landmarks, view, drawn)

    # from the frame of the camera that looks at the face to that of the colour camera, both with y up
    towards = FLIP_Y_AND_Z @ place / distance
    turn = Rotation.align_vectors(towards[None], np.array([[0.0, 0.0, -1.0]]))[0].as_matrix()
    to_picture = camera.intrinsics @ FLIP_Y_AND_Z @ turn @ FLIP_Y_AND_Z @ np.linalg.inv(_intrinsics(aimed))
    # the window's edge goes on to the picture's: the wall to the sides, the chest below
    picture = cv2.warpPerspective(window, to_picture, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)

    rotation = turn @ view
    centre = turn @ (view @ HEAD_CENTRE_CM - aimed.target - [0, 0, aimed.distance_cm]) * 10
    depth_rotation = camera.rotation.T @ FLIP_Y_AND_Z @ rotation @ FLIP_Y_AND_Z
    depth_centre = camera.rotation.T @ (FLIP_Y_AND_Z @ centre - camera.translation)
    pose_file.write_text(f"{_rows(depth_rotation)}\n\n{_rows(depth_centre)}\n", encoding="utf-8")
    return picture, DrawnFrame(
        name=name,
        pose=poses.rotation_to_label(rotation),
        seen=poses.rotation_to_label(view),
        landmarks=cv2.perspectiveTransform(landmarks[None].astype(np.float64), to_picture)[0],
        shape=(mesh.landmarks - HEAD_CENTRE_CM) * 10,
    )


def _intrinsics(camera: scene.Camera) -> np.ndarray:
    """(3, 3) of the renderer's camera, for a frame with y down and z away from it."""
    middle = (scene.IMAGE_SIZE - 1) / 2 + np.array(camera.shift_px)
    return np.array([[camera.focal, 0, middle[0]], [0, camera.focal, middle[1]], [0, 0, 1]])


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write the recordings into")
    parser.add_argument("--sequences", nargs="+", default=["01", "02", "03"], metavar="NN", help="recordings, 01 to 24")
    parser.add_argument("--frames", type=int, default=6, help="pictures of each")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people")
    wanted = parser.parse_args()
    frames = write_biwi(wanted.out, wanted.sequences, wanted.frames, wanted.seed)
    print(f"{wanted.out}: {len(frames)} frames of {len(wanted.sequences)} recordings in BIWI's layout")


if __name__ == "__main__":
    main()
