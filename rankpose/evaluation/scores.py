"""What is a model worth under a protocol? Its predictions with all that is known of them.

`evaluate` turns predictions into an `Evaluation`; `rankpose.evaluation.differences` compares several,
`rankpose.evaluation.stored` is what lies on the disk of them, `rankpose.report` makes of them what people read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rankpose.data.crop import face_points
from rankpose.data.crop_rules import CropRule
from rankpose.data.record import Records, Reject
from rankpose.errors import ConfigError, DatasetError
from rankpose.evaluation.names import check_folder_name
from rankpose.evaluation.protocol import Protocol
from rankpose.evaluation.statistics import Interval, score_intervals
from rankpose.metrics import aligned, alignment, angle_error, evaluation_scores, geodesic_error
from rankpose.pose import ANGLES

FURTHEST_DEG = 99.0
"""Where the usual protocols stop: beyond, Euler angles are ambiguous."""
_RISING = ("within_", "auc_", "pair_order", "spearman")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model under one protocol, on clean images or under one corruption."""

    model: str
    """Short, unique in tables; a folder's name."""
    about: str
    """Where the model comes from and what it sees: files, crop rule, input size."""
    protocol: str
    """The protocol's name; a folder's name."""
    title: str
    """The protocol in one line."""
    expected: int | None
    """How many images the whole set has; None where that is not fixed."""
    predictions: pd.DataFrame
    """A row an image, columns `rankpose.report.tables.PREDICTION_COLUMNS`."""
    scores: Mapping[str, float]
    """As `rankpose.metrics.evaluation_scores` gives them."""
    intervals: Mapping[str, Interval]
    """Of the scores as they are and of the `aligned_` ones."""
    corruption: str | None = None
    strength: int = 0
    """0 for clean images, 1 to 5 for corrupted ones."""
    remarks: tuple[str, ...] = ()
    """What a reader of the figures must know, one sentence each."""
    rejects: tuple[Reject, ...] = ()
    """What the set left out, and why."""
    available: int | None = None
    """Of how many images `predictions` are those that were tested; None where they are all."""
    changes: tuple[str, ...] = ()
    """`KEY=VALUE` of what the protocol was run with otherwise than its name stands for."""
    unanswered: int = 0
    """Of how many images the model gave no pose, since it found no face: `predictions` and scores are without them."""
    mae_rest_zero: float | None = None
    """The MAE with the zero pose for these, degrees; None where all were answered."""

    def __post_init__(self) -> None:
        check_folder_name("model", self.model)
        check_folder_name("protocol", self.protocol)
        if (self.corruption is None) != (self.strength == 0):
            raise ConfigError(
                f"strength={self.strength}: clean images have strength 0, corrupted ones 1 to 5 and a corruption."
            )

    @property
    def key(self) -> tuple[str, str, str | None, int]:
        """Model, protocol, corruption, strength: what tells evaluations apart."""
        return self.model, self.protocol, self.corruption, self.strength

    @property
    def coverage(self) -> float:
        """The share of images that were answered."""
        return len(self.predictions) / (len(self.predictions) + self.unanswered)

    @property
    def complete(self) -> bool:
        """Whether this is the whole set of the protocol unchanged, as published figures are about."""
        return self.expected == len(self.predictions) and not self.changes

    def poses(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted and true poses, (N, 3) degrees each, and identities, (N,) whole numbers."""
        return poses_of(self.predictions)


def rising(score: str) -> bool:
    """Whether more of a score of `rankpose.metrics.scores` is better: shares, areas, orders; not errors."""
    return any(word in score for word in _RISING)


def evaluate(
    prediction: Tensor,
    records: Records,
    protocol: Protocol,
    crop: CropRule,
    *,
    model: str,
    about: str,
    corruption: str | None = None,
    strength: int = 0,
    rows: Tensor | None = None,
    remarks: Sequence[str] = (),
    may_lack: bool = False,
    expected: Tensor | None = None,
) -> Evaluation:
    """Scores of a model's predictions for the images of a protocol, with their intervals.

    Args:
        prediction: (N, 3) yaw, pitch, roll in degrees; with `may_lack`, NaN where the model gives no pose.
        records: the protocol's.
        protocol: what the figures are figures of.
        crop: what the model sees of an image; for the pictures.
        model, about, corruption, strength: see `Evaluation`.
        rows: (N,) of which records the predictions are; None: of all, in their order.
        remarks: what else a reader must know.
        expected: (N,) degrees, the error that the model expects of each; None where it does not say.
        may_lack: whether "no face" is an answer, which is counted; else it is an error.

    Raises:
        DatasetError: a prediction is no number, there are not as many as images, or no image was answered.
        ConfigError: a name that is none for a folder.
    """
    known = protocol.remarks(records)
    part = records if rows is None else records.select(rows.numpy())
    if len(part) < len(records):
        known.append(f"only {len(part):,} of {len(records):,} images were tested (trainer.limit_test_batches).")
    beyond = int((np.abs(part.pose) > FURTHEST_DEG).any(axis=1).sum())
    if beyond:
        known.append(
            f"{beyond:,} of {len(part):,} images have a true angle beyond ±{FURTHEST_DEG:g}°, where Euler angles are "
            "ambiguous: their errors by angle mean little, and figures leave them outside the frame. Read the geodesic "
            "error, or leave these images out, as most papers do."
        )
    lacking: dict[str, Any] = {}
    if may_lack and len(prediction) == len(part) and not torch.isfinite(prediction).all():
        answered = torch.isfinite(prediction).all(dim=1)
        count, told = (
            int((~answered).sum()),
            f"{model} gives no pose of {int((~answered).sum()):,} of {len(part):,} images",
        )
        if not answered.any():
            raise DatasetError(f"{told}, which is all.")
        target = torch.from_numpy(part.pose)
        filled = torch.where(answered[:, None], prediction, torch.zeros_like(prediction))
        mae = float(angle_error(filled.double(), target.double()).mean())
        known.append(
            f"{told}: its scores are about the others. With the zero pose for those without, its MAE is {mae:.2f}°."
        )
        lacking = {"unanswered": count, "mae_rest_zero": mae}
        part, prediction = part.select(torch.nonzero(answered)[:, 0].numpy()), prediction[answered]
        expected = None if expected is None else expected[answered]
    table = pose_table(prediction, part, crop)
    if expected is not None:
        table["expected"] = expected.numpy()
    return evaluation_of(
        table,
        **lacking,
        model=model,
        about=about,
        protocol=protocol.name,
        title=protocol.described,
        expected=protocol.expected,
        corruption=corruption,
        strength=strength,
        remarks=(*known, *remarks),
        rejects=records.rejects,
        available=len(records),
        changes=protocol.changes,
    )


def evaluation_of(predictions: pd.DataFrame, *, model: str, protocol: str, **known: Any) -> Evaluation:
    """The same from a table of predictions, such as a `predictions.parquet`; `known` are fields of `Evaluation`."""
    columns = [f"{angle}{end}" for angle in ANGLES for end in ("", "_pred")]
    broken = predictions[~np.isfinite(predictions[columns].to_numpy(dtype=float)).all(axis=1)]
    if len(broken):
        raise DatasetError(
            f"{model} under {protocol}: {len(broken):,} of {len(predictions):,} poses are no numbers, the first that "
            f"of {broken['name'].iloc[0]}. The model is {known['about']}."
        )
    prediction, target, identity = poses_of(predictions)
    intervals = score_intervals(prediction, target, identity)
    turned = aligned(prediction, alignment(prediction, target))
    intervals |= {f"aligned_{name}": found for name, found in score_intervals(turned, target, identity).items()}
    return Evaluation(
        model=model,
        protocol=protocol,
        predictions=predictions.reset_index(drop=True),
        scores=evaluation_scores(prediction, target, identity),
        intervals=intervals,
        **known,
    )


def pose_table(prediction: Tensor, records: Records, crop: CropRule) -> pd.DataFrame:
    """Predictions and truth, a row an image.

    Args:
        prediction: (N, 3) degrees.
        records: in the same order.
        crop: what the model saw; of a part that is not square, the square around it.

    Returns:
        columns `name`, `image`, `identity`, `yaw`, `pitch`, `roll`, `yaw_pred`, `pitch_pred`, `roll_pred` and
        `geodesic` (degrees), `crop_x`, `crop_y`, `crop_side` (pixels of the image).

    Raises:
        DatasetError: not as many predictions as images.
    """
    if prediction.shape != (len(records), 3):
        raise DatasetError(
            f"{records.dataset}: {len(records):,} images need as many predictions of yaw, pitch and roll, these are "
            f"{' x '.join(map(str, prediction.shape))}."
        )
    target = torch.from_numpy(np.asarray(records.pose))
    columns: dict[str, object] = {
        "name": np.asarray(records.names[:]),
        "image": np.asarray(records.images[:]),
        "identity": records.identity_names[records.identity],
    }
    columns |= {name: target[:, k].numpy() for k, name in enumerate(ANGLES)}
    columns |= {f"{name}_pred": prediction[:, k].float().numpy() for k, name in enumerate(ANGLES)}
    columns["geodesic"] = geodesic_error(prediction.float(), target).numpy()
    squares = np.array([_square(crop.rectangle(face_points(records[row]))) for row in range(len(records))])
    columns |= {name: squares[:, k] for k, name in enumerate(("crop_x", "crop_y", "crop_side"))}
    return pd.DataFrame(columns)


def poses_of(predictions: pd.DataFrame) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted and true poses, (N, 3) degrees each, and identities, (N,) whole numbers, of a table of predictions."""
    prediction, target = (
        torch.from_numpy(predictions[[f"{angle}{end}" for angle in ANGLES]].to_numpy(dtype=np.float64, copy=True))
        for end in ("_pred", "")
    )
    # sorted by name, so that the order of images does not decide what the bootstrap draws
    _, identity = np.unique(predictions["identity"].astype(str), return_inverse=True)
    return prediction, target, torch.from_numpy(identity)


def _square(rectangle: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Left, top and side of the square around a rectangle."""
    left, top, right, bottom = rectangle
    side = max(right - left, bottom - top)
    return (left + right - side) / 2, (top + bottom - side) / 2, side
