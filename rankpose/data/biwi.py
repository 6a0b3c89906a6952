"""BIWI Kinect Head Pose: 15,678 frames of 24 recordings of 20 people before a depth camera.

Format
    * `<root>/<NN>/frame_00003_rgb.png` (640x480) and `frame_00003_pose.txt`: three rows of a rotation, an empty line,
      the head's centre in millimetres, all in the frame of the depth camera (x right, y down, z away from it).
    * `<NN>/rgb.cal`: intrinsics 3x3, distortion, rotation 3x3 and translation (millimetres) from the depth camera to
      the colour camera, image size. The folder may be called `hpdb`, `kinect_head_pose_db` or `faces_0`.
Labels
    The depth camera's frame. The angles that HopeNet read from the rotation, and that FSA-Net and others test against,
    are the project's own convention once the camera's frame (y down, z away) is turned to ours (y up, z towards the
    camera): `01/frame_00003` is yaw 3.291, pitch 7.607, roll -1.567. RankPose's own code negates the pitch; its lists
    follow other signs than 300W-LP's annotations.
Boxes
    The set has none. Here the head's centre is projected into the colour image and a box of fixed metric size is put
    around it: every frame gets one, and no detector is needed.
Licence
    For research, as its authors' page states.
Cite
    G. Fanelli, M. Dantone, J. Gall, A. Fossati, L. Van Gool: Random Forests for Real Time 3D Face Analysis. IJCV 2013.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rankpose.data.annotation import check_whole
from rankpose.data.record import Annotation, BadFile, Layout, Records, not_found, read_records
from rankpose.pose import rotmat_to_euler

NAME = "BIWI"
HOW = (
    "Download kinect_head_pose_db.tgz from its authors' page (ETH Zurich), unpack it, and set protocol.root to the "
    "folder that holds 01 to 24; data/README.md has the details."
)
FACE_WIDTH_MM = 150.0
"""Width and height of the box around the head's centre: about the extent of 68 landmarks on a grown-up's head."""
FLIP_Y_AND_Z = np.diag([1.0, -1.0, -1.0])
"""From a frame with y down and z away from the camera to one with y up and z towards it, and back."""
INNER_FOLDERS = ("hpdb", "kinect_head_pose_db", "faces_0")


@dataclass(frozen=True)
class ColourCamera:
    """The colour camera of a recording: where a point of the depth camera's frame falls in the colour image."""

    intrinsics: np.ndarray
    """(3, 3), pixels."""
    rotation: np.ndarray
    """(3, 3), depth camera's frame to colour camera's."""
    translation: np.ndarray
    """(3,) millimetres."""

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) millimetres in the depth camera's frame to the colour camera's."""
        return points @ self.rotation.T + self.translation

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) millimetres in the depth camera's frame to (..., 2) pixels of the colour image."""
        image = self.to_camera(points) @ self.intrinsics.T
        return image[..., :2] / image[..., 2:]


def read_camera(path: str | Path) -> ColourCamera:
    """Reads `rgb.cal`.

    Raises:
        BadFile: missing or malformed.
    """
    try:
        text = Path(path).read_text()
        blocks = [np.array(block.split(), dtype=np.float64) for block in re.split(r"\n\s*\n", text.strip())]
        intrinsics, rotation, translation = blocks[0].reshape(3, 3), blocks[2].reshape(3, 3), blocks[3].reshape(3)
    except FileNotFoundError:
        raise BadFile("with no rgb.cal", str(path)) from None
    except (ValueError, IndexError):
        raise BadFile("with a malformed rgb.cal", str(path)) from None
    return ColourCamera(intrinsics, rotation, translation)


def read_pose(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads `frame_*_pose.txt`: the rotation (3, 3) and the head's centre (3,) in millimetres.

    Raises:
        BadFile: missing or malformed.
    """
    try:
        numbers = np.array(Path(path).read_text().split(), dtype=np.float64)
        return numbers[:9].reshape(3, 3), numbers[9:12].reshape(3)
    except FileNotFoundError:
        raise BadFile("with no pose file", str(path)) from None
    except ValueError:
        raise BadFile("with a malformed pose file", str(path)) from None


def rotation_to_pose(rotation: np.ndarray) -> np.ndarray:
    """BIWI's rotation (3, 3) to (yaw, pitch, roll) in degrees, in the project's convention.

    Equals HopeNet's reading.
    """
    ours = FLIP_Y_AND_Z @ rotation @ FLIP_Y_AND_Z
    return rotmat_to_euler(torch.from_numpy(ours)).numpy()


def read_biwi(root: str | Path, max_angle: float | None = 99.0, strict: bool = False) -> Records:
    """Reads BIWI's folder; a sequence is an identity.

    Args:
        root: the folder that holds `01` to `24`, or the one above it.
        max_angle: leave out frames with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead of leaving it out.

    Raises:
        DatasetNotFoundError: no such folder, or no frames in it.
        DatasetError: an unusable file (strict), or none usable.
    """
    root = Path(root)
    if not root.is_dir():
        raise not_found(NAME, root, "no such folder", HOW)
    root = next((root / inner for inner in INNER_FOLDERS if (root / inner).is_dir()), root)
    sequences = sorted(folder for folder in root.iterdir() if folder.is_dir() and re.fullmatch(r"\d\d", folder.name))
    names = [
        os.path.join(folder.name, f"{name.removesuffix('_pose.txt')}_rgb.png")
        for folder in sequences
        for name in sorted(os.listdir(folder))
        if name.endswith("_pose.txt")
    ]
    if not names:
        raise not_found(NAME, root, "no frames (01/frame_*_pose.txt)", HOW)
    cameras: dict[Path, ColourCamera] = {}

    def annotation_of(image: str) -> Annotation:
        folder = Path(image).parent
        if folder not in cameras:
            cameras[folder] = read_camera(folder / "rgb.cal")
        camera = cameras[folder]
        rotation, centre = read_pose(image.removesuffix("_rgb.png") + "_pose.txt")
        x, y = camera.project(centre)
        half = FACE_WIDTH_MM / 2 * camera.intrinsics[0, 0] / camera.to_camera(centre)[2]
        check_whole(image)
        return Annotation(rotation_to_pose(rotation), np.array([x - half, y - half, x + half, y + half]))

    layout = Layout(NAME, os.path.dirname, annotation_of, has_landmarks=False)
    return read_records(layout, root, names, max_angle, strict)
