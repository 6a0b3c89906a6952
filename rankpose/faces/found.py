"""What does a detector make of faces whose boxes are known, or taken for known?

A test set with the boxes that it finds in place of its own says what a detector costs; and whole photographs can be
told from crops around a face.
"""

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


def not_in_the_middle(records: Records, detector: FaceDetector, most: int = 24) -> tuple[int, int]:
    """Of some records, evenly drawn: in how many no detected face is where its box is, and in how many one is detected.

    A face is where the box is if their middles are no farther apart than a third of the box's side and neither is
    more than 1.6 times as large as the other.
    """
    elsewhere = looked = 0
    for row in np.unique(np.linspace(0, len(records) - 1, most).astype(int)):
        record = records[int(row)]
        boxes = [detector.to_face_box(face.box) for face in detector(read_image(record.image))]
        if not boxes:
            continue
        own = record.face_box.astype(np.float64)
        side = float((own[2:] - own[:2]).max())
        away = [float(np.linalg.norm((box[:2] + box[2:] - own[:2] - own[2:]) / 2)) / side for box in boxes]
        nearest = boxes[int(np.argmin(away))]
        looked += 1
        elsewhere += min(away) > 1 / 3 or not 1 / 1.6 < (nearest[2] - nearest[0]) / side < 1.6
    return elsewhere, looked
