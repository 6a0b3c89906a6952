"""Who is who from one frame to the next? ByteTrack, of the package `trackers`, with numbers that begin at once.

Cite
    Y. Zhang et al.: ByteTrack: Multi-Object Tracking by Associating Every Detection Box. ECCV 2022.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from rankpose.faces import Face


class Follower:
    """Numbers the people of a film.

    Args:
        rate: frames a second of the film, on average.
        min_score: faces that are less sure start no person, they only go on with one.
        patience_s: for how long somebody may be out of sight and come back under the same number, seconds.
    """

    def __init__(self, rate: float, min_score: float, patience_s: float = 2.0) -> None:
        from trackers import ByteTrackTracker, DIoU  # takes a second

        self._tracker = ByteTrackTracker(
            lost_track_buffer=max(1, round(30 * patience_s)),  # counted in frames of 30 a second, whatever the film's
            frame_rate=rate,
            track_activation_threshold=min_score,
            high_conf_det_threshold=min_score,
            minimum_consecutive_frames=1,
            # somebody who comes out from behind somebody else is up to a face's width from where he was to come out
            iou=DIoU(),
            minimum_iou_threshold=-0.3,
        )
        self.min_score = min_score
        self._numbers: dict[int, int] = {}

    def __call__(self, faces: Sequence[Face], time: float) -> list[int | None]:
        """The person of each face of the next frame, 1 for the first that was seen; None is nobody.

        Args:
            faces: of the frame.
            time: of the frame, seconds, later than that of the frame before.
        """
        tracks = self._update(faces, time)
        if any(track < 0 and face.score >= self.min_score for track, face in zip(tracks, faces, strict=True)):
            # a new face gets its number when it is matched for the first time: with itself, at the same time
            tracks = self._update(faces, time)
        return [None if track < 0 else self._numbers.setdefault(track, len(self._numbers) + 1) for track in tracks]

    def _update(self, faces: Sequence[Face], time: float) -> list[int]:
        import supervision

        detections = supervision.Detections(
            xyxy=np.array([face.box for face in faces], dtype=np.float64).reshape(-1, 4),
            confidence=np.array([face.score for face in faces], dtype=np.float64),
            data={"place": np.arange(len(faces))},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a time comes twice is meant
            found = self._tracker.update(detections, timestamp=time)
        tracks = [-1] * len(faces)
        if found.tracker_id is not None:
            for place, track in zip(found.data.get("place", []), found.tracker_id, strict=True):
                tracks[int(place)] = int(track)
        return tracks
