"""What does a detector cost? A test set with the boxes that it finds, in place of those that the set has."""

from dataclasses import replace

import numpy as np
from tqdm import tqdm

from rankpose.data.crop import points_around, read_image
from rankpose.data.record import Record, Records, Reject
from rankpose.faces import FaceDetector

REASON = "without a face that the detector finds"


def found_box(record: Record, detector: FaceDetector) -> np.ndarray | None:
    """(4,) the landmarks' square by the detected face that is nearest to the head; None where none is on it.

    A face is on the head if its middle is no farther than half the landmarks' side from theirs.
    """
    points = points_around(record.face_box, record.landmarks)
    low, high = points.min(axis=0), points.max(axis=0)
    boxes = [detector.to_face_box(face.box) for face in detector(read_image(record.image))]
    away = [float(np.linalg.norm((box[:2] + box[2:]) / 2 - (low + high) / 2)) for box in boxes]
    if not away or min(away) > (high - low).max() / 2:
        return None
    return boxes[int(np.argmin(away))]


def found_by(detector: FaceDetector, records: Records) -> Records:
    """The records in which a detector finds the head, with its boxes; the others are among the rejects."""
    boxes = [
        found_box(records[row], detector) for row in tqdm(range(len(records)), "faces", unit="image", disable=None)
    ]
    rows = np.array([row for row, box in enumerate(boxes) if box is not None], dtype=int)
    missed = tuple(Reject(str(records.images[row]), REASON) for row, box in enumerate(boxes) if box is None)
    found = np.array([box for box in boxes if box is not None], dtype=np.float32).reshape(-1, 4)
    return replace(records.select(rows), face_box=found, landmarks=None, rejects=(*records.rejects, *missed))
