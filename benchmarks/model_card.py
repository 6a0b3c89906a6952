"""What is a model worth that is sent to others? Its card: figures of the very file, each with its command.

    python -m benchmarks.model_card rankpose/models/weights/NAME.safetensors --aflw2000 DIR --synthetic DIR \\
        --summary TEXT --licence TEXT --trained-on TEXT --command TEXT

writes NAME.json beside the file; where a card is there, the texts may be left out. Prints the tables of all cards as
Markdown, as docs/accuracy.md has them.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankpose.errors import RankPoseError, one_line_errors
from rankpose.evaluation.scores import Evaluation
from rankpose.evaluation.stored import read_evaluations
from rankpose.files import write_whole
from rankpose.models.checkpoint import load_net
from rankpose.models.shipped import Card, list_models, read_card
from rankpose.pose import ANGLES
from rankpose.report.tables import near_frontal_slopes, signed_errors_deg

TEXTS = ("summary", "licence", "trained_on", "command")
TITLES = {"aflw2000": "photographs of AFLW2000-3D (validation)", "synthetic": "renders of people never seen"}


def evaluated(file: Path, protocol: str, root: Path, mirrored: bool) -> Evaluation:
    """The model under a protocol, by the command that a user would type."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*command_of(str(file), protocol, str(root), mirrored).split()[1:], f"out={folder}/page"]
        subprocess.run([sys.executable, *command], check=True)
        (found,) = read_evaluations(Path(folder, "page")).evaluations
    return found


def command_of(model: str, protocol: str, root: str, mirrored: bool) -> str:
    """What gives a figure."""
    more = " predictor.mirror=true" if mirrored else ""
    return f"python -m rankpose.evaluate checkpoint={model} protocol={protocol} roots.{protocol}={root}{more}"


def figure(one: Evaluation, name: str, mirrored: bool) -> dict[str, Any]:
    """A protocol's scores as a card has them; angles in degrees."""
    predictions, bias = one.predictions, signed_errors_deg(one.predictions).mean()
    low, high = one.intervals["mae"].low, one.intervals["mae"].high
    turned = predictions["yaw"].abs()
    errors = signed_errors_deg(predictions).abs().mean(axis=1)
    groups = {
        f"mae_yaw_{a}_{b}": float(errors[(turned >= a) & (turned < b)].mean()) for a, b in ((0, 30), (30, 60), (60, 99))
    }
    scores: dict[str, float] = {"mae": one.scores["mae"], "mae_low": low, "mae_high": high}
    scores |= {angle: one.scores[f"{angle}_mae"] for angle in ANGLES}
    scores |= {"geodesic": one.scores["geodesic"], **groups}
    scores |= {f"bias_{angle}": float(bias[angle]) for angle in ANGLES}
    scores |= {f"slope_{angle}": found.value for angle, found in near_frontal_slopes(predictions).items()}
    if one.protocol == "synthetic":
        scores["pair_order"] = one.scores["pair_order"]
    if "expected" in predictions and not mirrored:
        surest_first = errors.iloc[predictions["expected"].argsort()]
        scores["mae_surest_half"] = float(surest_first.iloc[: len(surest_first) // 2].mean())
        scores["mae_least_sure_tenth"] = float(surest_first.iloc[-(len(surest_first) // 10) :].mean())
        scores |= {f"{name}_of_mean_cosine": mean_angle(predictions[name]) for name in ("expected", "geodesic")}
    known = {"protocol": one.protocol, "images": len(predictions), "mirrored": mirrored}
    return (
        known
        | {key: round(value, 3) for key, value in scores.items()}
        | {"command": command_of(name, one.protocol, "FOLDER", mirrored)}
    )


def mean_angle(angles: pd.Series) -> float:
    """The angle whose cosine is the mean cosine of angles in degrees, which an expected error is."""
    return float(np.degrees(np.arccos(np.cos(np.radians(angles.astype(float))).mean())))


def make_card(file: Path, roots: dict[str, Path], texts: dict[str, str | None]) -> Card:
    """The card of a file of weights; texts that are None are those of the card that is there."""
    missing = [text for text, value in texts.items() if value is None]
    if missing:
        there = read_card(file)
        texts = texts | {text: getattr(there, text) for text in missing}
    net, made_from = load_net(file)
    figures = [
        figure(evaluated(file, protocol, root, mirrored), file.stem, mirrored)
        for protocol, root in roots.items()
        for mirrored in (False, True)
        if protocol == "aflw2000" or not mirrored
    ]
    return Card(
        name=file.stem,
        **{text: str(value) for text, value in texts.items()},
        backbone=str(made_from.backbone["name"]),
        input_pixels=made_from.image_size,
        weights=sum(weight.numel() for weight in net.parameters()),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        figures=tuple(figures),
    )


def as_markdown(cards: list[Card]) -> str:
    """All figures, a row each; then how sure the models are, where they say it."""
    lines = [
        "| model | tested on | MAE [95 %] | yaw | pitch | roll | geodesic | by yaw 0-30 / 30-60 / 60-99 | "
        "bias yaw / pitch / roll | slope yaw / pitch / roll | pair order |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for card in cards:
        for one in card.figures:
            tested = f"{one['images']:,} {TITLES.get(one['protocol'], one['protocol'])}" + (
                ", mirrored as well" if one["mirrored"] else ""
            )
            groups = " / ".join(f"{one[f'mae_yaw_{pair}']:.1f}" for pair in ("0_30", "30_60", "60_99"))
            bias = " / ".join(f"{one[f'bias_{angle}']:+.1f}" for angle in ANGLES)
            slopes = " / ".join(f"{one[f'slope_{angle}']:.2f}" for angle in ANGLES)
            lines.append(
                f"| `{card.name}` | {tested} | {one['mae']:.2f} [{one['mae_low']:.2f}, {one['mae_high']:.2f}] | "
                + " | ".join(f"{one[angle]:.2f}" for angle in ANGLES)
                + f" | {one['geodesic']:.2f} | {groups} | {bias} | {slopes} | {one.get('pair_order', '')} |"
            )
    lines += [
        "",
        "| model | tested on | expected error | actual | MAE of the surest half | of all | of the least sure tenth |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for card in cards:
        for one in card.figures:
            if "mae_surest_half" in one:
                tested = f"{one['images']:,} {TITLES.get(one['protocol'], one['protocol'])}"
                expected, actual = one["expected_of_mean_cosine"], one["geodesic_of_mean_cosine"]
                lines.append(
                    f"| `{card.name}` | {tested} | {expected:.1f} | {actual:.1f} | {one['mae_surest_half']:.2f} | "
                    f"{one['mae']:.2f} | {one['mae_least_sure_tenth']:.2f} |"
                )
    return "\n".join(lines)


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "file", type=Path, nargs="?", help="weights, as rankpose.export writes them; none: the table alone"
    )
    for protocol in TITLES:
        parser.add_argument(f"--{protocol}", type=Path, help=f"folder of protocol={protocol}")
    for text in TEXTS:
        parser.add_argument(f"--{text.replace('_', '-')}")
    wanted = vars(parser.parse_args())
    if wanted["file"] is not None:
        roots = {protocol: wanted[protocol] for protocol in TITLES if wanted[protocol] is not None}
        if not roots:
            raise RankPoseError(f"a card has figures: name a folder with {' or '.join(f'--{one}' for one in TITLES)}.")
        card = make_card(wanted["file"], roots, {text: wanted[text] for text in TEXTS})
        write_whole(wanted["file"].with_suffix(".json"), card.as_json())
        print(json.dumps([dict(one) for one in card.figures], indent=1))
    print(as_markdown(list_models()))


if __name__ == "__main__":
    main()
