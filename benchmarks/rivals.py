"""Other methods beside RankPose: `python -m benchmarks.rivals [RUNS] [--steps 20] [--size 64] [--batch 64]`

Two tables, for docs/rivals.md. Of finished runs of `experiment=rivals` in the folder RUNS what `rankpose.compare` says:
errors and order of each method, and what ranking changes in it. And for every method of that experiment its weights and
what a training step takes, forward, loss and backward, on images of noise; in turns, so that a machine whose speed
drifts slows all of them. Prints Markdown, and last JSON.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import describe
from rankpose.command.configuration import composed
from rankpose.command.training import make_task
from rankpose.evaluation.runs import find_runs
from rankpose.files import CONFIG_DIR, read_yaml
from rankpose.report.ablation import make_ablation, to_markdown, write_ablation
from rankpose.task import PoseTask


def methods() -> dict[str, list[str]]:
    """What the sweep of the experiment trains, without seeds and once for ranking and none: names to overrides."""
    sweeper = read_yaml(Path(CONFIG_DIR, "experiment", "rivals.yaml"))["hydra"]["sweeper"]
    found = {}
    for part, grids in sweeper["parts"].items():
        for grid in grids:
            for values in product(*(str(value).split(",") for value in grid.values())):
                given = dict(zip(grid, values, strict=True))
                # what other parts have as well, and does not change a step
                if "loss.alpha" in given:
                    continue
                for share in sweeper["params"]["loss.share"].split(","):
                    name = f"{given['representation'] if part == 'rankpose' else part}, share {share}"
                    found[name] = [*(f"{key}={value}" for key, value in given.items()), f"loss.share={share}"]
    return found


def step_seconds(task: PoseTask, images: torch.Tensor, pose: torch.Tensor, identity: torch.Tensor) -> float:
    """Of one step without its optimizer."""
    start = time.perf_counter()
    task.zero_grad()
    task.loss(task.net(images), pose, identity)["loss"].backward()
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, help="the folder of a sweep of experiment=rivals")
    parser.add_argument("--steps", type=int, default=20, help="of each method, after one that is not counted")
    parser.add_argument("--size", type=int, default=64, help="side of the images, pixels")
    parser.add_argument("--batch", type=int, default=64, help="images a step, two of each person")
    given = parser.parse_args()
    if given.runs is not None:
        ablation = make_ablation(find_runs([given.runs]), {"loss.share": "0"})
        print(to_markdown(ablation))
        print(f"report: {write_ablation(given.runs / 'comparison', ablation)}\n")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.randint(0, 256, (given.batch, 3, given.size, given.size), dtype=torch.uint8, device=device)
    pose = 60 * (torch.rand(given.batch, 3, device=device) - 0.5)
    identity = torch.arange(given.batch, device=device) // 2
    tasks = {
        name: make_task(composed("train", ["experiment=rivals", *overrides, f"image_size={given.size}"])).to(device)
        for name, overrides in methods().items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(1 + given.steps):
        for name, task in tasks.items():
            seconds[name].append(step_seconds(task, images, pose, identity))
    weights = {name: sum(one.numel() for one in task.net.parameters()) for name, task in tasks.items()}
    steps = {name: 1000 * median(found[1:]) for name, found in seconds.items()}
    print("| method | weights | ms a step |\n| --- | --- | --- |")
    for name, value in steps.items():
        print(f"| {name} | {weights[name]:,} | {value:.1f} |")
    print(json.dumps({"weights": weights, "step_ms": steps} | describe("torch", "timm")))


if __name__ == "__main__":
    main()
