"""BIWI Kinect Head Pose: 15,678 frames of 24 recordings of 20 people before a depth camera.

Format
    * `<root>/<NN>/frame_00003_rgb.png` (640x480) and `frame_00003_pose.txt`: three rows of a rotation, an empty line,
      the head's centre in millimetres, all in the frame of the depth camera (x right, y down, z away from it).
    * `<NN>/rgb.cal` and `depth.cal`, a camera each: intrinsics 3x3, distortion, rotation 3x3 and translation
      (millimetres) from the common frame, which is the depth camera's, to this camera's, image size; an empty line
      between. The folder may be called `hpdb`, `kinect_head_pose_db` or `faces_0`.
    * The first frame's binary pose file is missing (its text file is not): a set of 15,677 is one read from those.
Labels
    `depth`: in the depth camera's frame, as almost every paper has them. The angles that HopeNet read from the
    rotation, and that FSA-Net and others test against, are the project's own convention once the camera's frame (y
    down, z away) is turned to ours (y up, z towards the camera): `01/frame_00003` is yaw 3.291, pitch 7.607, roll
    -1.567. RankPose's own code negates the pitch; its lists follow other signs than 300W-LP's annotations.

    `colour`: in the frame of the camera that took the picture, `R_colour = R_rgb R_depth^T R`, with the rotations of
    the two calibrations. It is what the picture shows; it differs by 1.04 or 1.49 degrees, as the recording has it.
    The labels of BIWI+ are these.

    HeadPose+ (F. Kuhnke, J. Ostermann) lists both in two Euler orders: `ypr`, which is this project's, and `pyr`, which
    reads the same rotation in the opposite order; `pose_to_pyr` and `pyr_to_pose` lead from one to the other. Mean
    errors in the two orders differ: its published figures for BIWI+ are errors of `pyr`.
Boxes
    The set has none. They come from a file (`rankpose.data.readers.boxes`), from a detector
    (`rankpose.data.readers.detect`), or from the head's centre projected into the colour image with a box of fixed
    metric size around it: every frame gets one, and nothing is needed.
People
    A person is an identity. Four were recorded twice (`PERSONS`), so whoever splits by recording tests on people that
    were trained on.
Licence
    For research, as its authors' page states.
Cite
    G. Fanelli, M. Dantone, J. Gall, A. Fossati, L. Van Gool: Random Forests for Real Time 3D Face Analysis. IJCV 2013.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import roma
import torch
from torch import Tensor

from rankpose.data.images import check_image, read_file
from rankpose.data.perspective import turn_towards
from rankpose.data.readers.boxes import BoxSource, Frame
from rankpose.data.readers.index import entries
from rankpose.data.readers.sources import BIWI
from rankpose.data.record import Annotation, BadFile, Layout, Records, Reject, Splits, read_records
from rankpose.errors import ConfigError, DatasetError
from rankpose.pose import euler_to_rotmat, rotmat_to_euler

NAME = BIWI.name
FACE_WIDTH_MM = 150.0
"""Width and height of the box around the head's centre: about the extent of 68 landmarks on a grown-up's head."""
FLIP_Y_AND_Z = np.diag([1.0, -1.0, -1.0])
"""From a frame with y down and z away from the camera to one with y up and z towards it, and back."""
INNER_FOLDERS = ("hpdb", "kinect_head_pose_db", "faces_0")
LABELS = ("depth", "colour")
PERSONS = {
    **{f"{k:02d}": f"F{k:02d}" for k in range(1, 7)},
    **{f"{k:02d}": f"M{k - 6:02d}" for k in range(7, 15)},
    **{"15": "F03", "16": "M09", "17": "M10", "18": "F05", "19": "M11"},
    **{"20": "M12", "21": "F02", "22": "M01", "23": "M13", "24": "M14"},
}
"""Who is in each recording, as the set's card at Hugging Face (`ETHZurich/biwi_kinect_head_pose`) lists it."""


@dataclass(frozen=True)
class Camera:
    """A camera: where a point falls in its image. Its frame has x right, y down and z away from it."""

    intrinsics: np.ndarray
    """(3, 3), pixels."""
    distortion: np.ndarray
    """(4,), (5,), (8,), (12,) or (14,), as OpenCV orders them."""
    rotation: np.ndarray
    """(3, 3), from the frame in which points are given to this camera's."""
    translation: np.ndarray
    """(3,) millimetres."""

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) millimetres to this camera's frame."""
        return np.asarray(points @ self.rotation.T + self.translation)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) millimetres, before the camera, to (..., 2) pixels."""
        seen = self.to_camera(points).reshape(-1, 1, 3)
        pixels, _ = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), self.intrinsics, self.distortion)
        return pixels.reshape(*points.shape[:-1], 2)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) pixels to (..., 3) directions in this camera's frame, with z = 1: lens distortion is taken out."""
        points = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        seen = cv2.undistortPoints(points, self.intrinsics, self.distortion)
        return np.concatenate([seen.reshape(pixels.shape), np.ones((*pixels.shape[:-1], 1))], axis=-1)

    def seen_from(self, other: "Camera") -> "Camera":
        """This camera for points that are given in the frame of `other`, which is calibrated in the same frame."""
        rotation = self.rotation @ other.rotation.T
        return replace(self, rotation=rotation, translation=self.translation - rotation @ other.translation)


def read_camera(path: str | Path) -> Camera:
    """Reads `rgb.cal` or `depth.cal`.

    Raises:
        BadFile: missing or malformed.
    """
    path = Path(path)
    try:
        content = read_file(str(path), path.name).decode()
        blocks = [np.array(block.split(), np.float64) for block in re.split(r"\n\s*\n", content.strip())]
        intrinsics, distortion, rotation, translation = blocks[:4]
        camera = Camera(intrinsics.reshape(3, 3), distortion, rotation.reshape(3, 3), translation.reshape(3))
    except ValueError:
        raise BadFile(f"with a malformed {path.name}", str(path)) from None
    if len(camera.distortion) not in (4, 5, 8, 12, 14) or not _is_rotation(camera.rotation):
        raise BadFile(f"with a malformed {path.name}", str(path))
    return camera


def read_colour_camera(folder: str | Path) -> Camera:
    """The colour camera of a recording, for points in the depth camera's frame, from both calibrations.

    Raises:
        BadFile: either is missing or malformed.
    """
    return read_camera(Path(folder) / "rgb.cal").seen_from(read_camera(Path(folder) / "depth.cal"))


def read_pose(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads `frame_*_pose.txt`: the rotation (3, 3) and the head's centre (3,) in millimetres.

    Raises:
        BadFile: missing or malformed.
    """
    try:
        numbers = np.array(read_file(str(path), "pose file").split(), dtype=np.float64).reshape(4, 3)
    except ValueError:
        raise BadFile("with a malformed pose file", str(path)) from None
    if not (_is_rotation(numbers[:3]) and np.isfinite(numbers[3]).all()):
        raise BadFile("with a malformed pose file", str(path))
    return numbers[:3], numbers[3]


def _is_rotation(matrix: np.ndarray) -> bool:
    """Whether (3, 3) is a rotation, to the digits that the files have."""
    return bool(roma.is_rotation_matrix(torch.from_numpy(matrix), epsilon=1e-3))


def rotation_to_pose(rotation: np.ndarray) -> np.ndarray:
    """BIWI's rotations (..., 3, 3) to (..., 3) yaw, pitch, roll in degrees, in the project's convention.

    Equals HopeNet's reading.
    """
    ours = FLIP_Y_AND_Z @ rotation @ FLIP_Y_AND_Z
    return rotmat_to_euler(torch.from_numpy(ours)).numpy()


def pose_to_pyr(pose_deg: Tensor) -> Tensor:
    """A pose in the other Euler order of HeadPose+'s files, `R = Rz(c) Ry(b) Rx(a)`.

    Args:
        pose_deg: (..., 3) yaw, pitch, roll, degrees.

    Returns:
        (..., 3) degrees: a, b, c, which HeadPose+ calls pitch, yaw and roll. To first order they are this project's
        angles of the same names with the opposite sign.
    """
    roll, yaw, pitch = roma.rotmat_to_euler("ZYX", euler_to_rotmat(pose_deg), degrees=True).unbind(-1)
    return torch.stack([pitch, yaw, roll], dim=-1)


def pyr_to_pose(pyr_deg: Tensor) -> Tensor:
    """The inverse of `pose_to_pyr`: (..., 3) degrees to (..., 3) yaw, pitch, roll, degrees."""
    pitch, yaw, roll = pyr_deg.unbind(-1)
    return rotmat_to_euler(roma.euler_to_rotmat("ZYX", [roll, yaw, pitch], degrees=True))


@dataclass(frozen=True)
class BiwiFrame:
    """What a source of boxes may ask about a frame of BIWI; see `rankpose.data.readers.boxes.Frame`."""

    name: str
    image: str
    centre: np.ndarray
    """(3,) of the head, millimetres in the depth camera's frame."""
    camera: Callable[[], Camera]
    """The colour camera; read only when it is needed."""

    @property
    def head_box(self) -> np.ndarray:
        camera = self.camera()
        depth = camera.to_camera(self.centre)[2]
        if depth <= 0:
            raise BadFile("with a head behind the camera", self.image)
        half = FACE_WIDTH_MM / 2 * camera.intrinsics[0, 0] / depth
        middle = camera.project(self.centre)
        return np.concatenate([middle - half, middle + half])


class HeadCentreBoxes(BoxSource):
    """A box of 150 mm around the projected centre of the head: for every frame, with no detector."""

    def box(self, frame: Frame) -> np.ndarray:
        return frame.head_box


HEAD_CENTRE = HeadCentreBoxes()


@dataclass(frozen=True)
class ColourCameras:
    """The cameras that BIWI's pictures are of, for `protocol.perspective` (`rankpose.data.perspective`).

    Args:
        labels: in whose frame a pose is meant, as for `read_biwi`.
    """

    labels: str = "depth"

    def turns(self, records: Records, middles: np.ndarray) -> np.ndarray:
        """The rotations from what crops show to the frame of the labels: multiply them from the left.

        Args:
            records: as `read_biwi` gives them.
            middles: (N, 2) pixels of the crops' middles.

        Returns:
            (N, 3, 3) float64.

        Raises:
            DatasetError: a calibration is missing or malformed, or the images are packed.
        """
        if self.labels not in LABELS:
            raise ConfigError(f"labels={self.labels}: BIWI's labels are depth or colour.")
        camera_of = cache(read_colour_camera)
        found = []
        for row, middle in enumerate(middles):
            try:
                camera = camera_of(Path(records.images[row]).parent)
            except BadFile as bad:
                raise DatasetError(f"protocol.perspective: {bad.file}: {bad.reason}.") from None
            turn = turn_towards(camera.rays(middle) @ FLIP_Y_AND_Z)
            if self.labels == "depth":
                turn = FLIP_Y_AND_Z @ camera.rotation.T @ FLIP_Y_AND_Z @ turn
            found.append(turn)
        return np.array(found)


def read_biwi(
    root: str | Path,
    max_angle: float | None = 99.0,
    strict: bool = False,
    boxes: BoxSource = HEAD_CENTRE,
    labels: str = "depth",
    sequences: Sequence[str] | None = None,
) -> Records:
    """Reads BIWI's folder; a person is an identity.

    Args:
        root: the folder that holds `01` to `24`, or the one above it.
        max_angle: leave out frames with an angle beyond +- this many degrees; None keeps all.
        strict: raise at the first unusable file instead of leaving it out.
        boxes: where the face boxes come from.
        labels: `depth` or `colour`: the camera in whose frame a pose is meant.
        sequences: recordings to read, such as `["01", "04"]`; by default all.

    Raises:
        DatasetNotFoundError: no such folder, no frames in it, or no box file.
        DatasetError: an unusable file (strict), none usable, or a box file that lists none of the frames.
        ConfigError: `labels` is neither, or `sequences` names a recording that there is not.
    """
    if labels not in LABELS:
        raise ConfigError(f"labels={labels}: BIWI's labels are depth or colour.")
    wanted = sorted(PERSONS) if sequences is None else list(sequences)
    if not wanted or not set(wanted) <= set(PERSONS):
        raise ConfigError(f"sequences={wanted}: BIWI's recordings are '01' to '24', in quotes where YAML reads them.")
    root = Path(root)
    if not os.path.isdir(root):
        raise BIWI.missing(root)
    root = next((root / inner for inner in INNER_FOLDERS if (root / inner).is_dir()), root)
    names = [
        f"{sequence}/{frame}_rgb.png"
        for sequence in wanted
        if (root / sequence).is_dir()
        for frame in _frames(root / sequence)
    ]
    if not names:
        raise BIWI.missing(root, f"no frames ({wanted[0]}/frame_*_pose.txt)")
    reasons = {name: reason for name in names if (reason := boxes.leaves_out(name)) is not None}
    if len(reasons) == len(names):
        raise DatasetError(f"{root}: all {len(names):,} frames are {reasons[names[0]]}. The first: {names[0]}.")
    camera_of = cache(read_colour_camera)

    def annotation_of(image: str) -> Annotation:
        folder = Path(image).parent
        rotation, centre = read_pose(image.removesuffix("_rgb.png") + "_pose.txt")
        if labels == "colour":
            rotation = camera_of(folder).rotation @ rotation
        size = check_image(image)
        name = f"{folder.name}/{Path(image).name}"
        box = boxes.box(BiwiFrame(name, image, centre, lambda: camera_of(folder)))
        _check_inside(box, size, image)
        return Annotation(rotation_to_pose(rotation), box)

    layout = Layout(NAME, lambda name: PERSONS[sequence_of(name)], annotation_of, has_landmarks=False)
    records = read_records(layout, root, [name for name in names if name not in reasons], max_angle, strict)
    left_out = tuple(Reject(os.path.join(root, name), reason) for name, reason in reasons.items())
    return replace(records, rejects=records.rejects + left_out)


def _frames(folder: Path) -> list[str]:
    """The frames of a recording; one that lacks its picture or its pose counts, so that its absence is told."""
    found = (re.fullmatch(r"(frame_\d+)_(rgb\.png|pose\.txt)", entry.name) for entry in entries(folder))
    return sorted({match[1] for match in found if match})


def _check_inside(box: np.ndarray, size: tuple[int, int], image: str) -> None:
    """Raises `BadFile` where the middle of a box is not in an image of this width and height."""
    middle = (box[:2] + box[2:]) / 2
    if not ((middle >= 0) & (middle < size)).all() and np.isfinite(box).all():
        raise BadFile("with a box outside the image", image)


def sequence_of(name: str) -> str:
    """The recording of an image's name or path, such as `01`."""
    return Path(name).parent.name


def split_biwi(records: Records, val_sequences: Sequence[str], test_sequences: Sequence[str]) -> Splits:
    """BIWI in three parts by recording.

    Args:
        records: what `read_biwi` gives.
        val_sequences: recordings to pick the checkpoint by.
        test_sequences: recordings to test on; all others are trained on.

    Raises:
        ConfigError: a person would be in two parts.
        DatasetError: a part has no frames.
    """
    sequences = np.array([sequence_of(records.names[i]) for i in range(len(records))])
    val, test = np.isin(sequences, val_sequences), np.isin(sequences, test_sequences)
    rows = {"train": ~val & ~test, "val": val, "test": test}
    part_of: dict[str, str] = {}
    for part, chosen in rows.items():
        if not chosen.any():
            raise DatasetError(f"{NAME}: the {part} part has no frames; sequences read: {sorted(set(sequences))}.")
        for sequence in sorted(set(sequences[chosen])):
            person = PERSONS[sequence]
            if part_of.setdefault(person, part) != part:
                raise ConfigError(
                    f"{NAME}: {person}, who is in recording {sequence}, is in both {part_of[person]} and {part}; "
                    "put all recordings of a person into one part."
                )
    return Splits(**{part: records.select(np.flatnonzero(chosen)) for part, chosen in rows.items()})
