"""How fast do training batches come? `python -m benchmarks.data [--identities 300] [--seconds 8]`

On one tree of 450x450 images, in one run, on one core and then on all: our folder mode and packed mode with the
augmentation of the published set-up at 224 pixels, the loader that peers use, and the limit: the decoding of the packed
JPEG and one warp to 224. Prints a table and, last, JSON; `--out FOLDER` keeps both and a plot.

Each loader runs in three ways: on one core in the process that takes the batches, on one core in a loader process
beside it (as training has it), and on all cores in as many loader processes. Each figure is the best of three turns,
which the loaders take one after the other, so that all meet the same moods of a shared machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from scipy.io import loadmat
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.machine import describe
from benchmarks.tree import identities, make_tree
from rankpose.command.configuration import build
from rankpose.data import pool
from rankpose.data.crop import View, crop_matrix, face_points, read_image
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.packed.reading import open_packed
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.files import CONFIG_DIR

SIZE, BATCH = 224, 128
TURNS = 3
USUAL, FOLDER, PACKED, LIMIT = "usual loader", "folder", "packed", "limit"
CORES = pool.usable_cores()
IN_PROCESS, ONE, ALL = "one core, one process", "one core, a loader process", f"{CORES} cores, {CORES} loader processes"
WAYS = {IN_PROCESS: (1, 0), ONE: (1, 1), ALL: (CORES, CORES)}
"""Cores and loader processes."""


class UsualDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What public head-pose code does for each sample: read the annotation, decode the whole image, crop, augment."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize(240),
                transforms.RandomResizedCrop(SIZE, scale=(0.8, 1)),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path = self.paths[index]
        fields = loadmat(f"{path[:-4]}.mat")
        pitch, yaw, roll = fields["Pose_Para"][0][:3]
        points = fields["pt2d"]
        left, top = points[0].min(), points[1].min()
        width, height = points[0].max() - left, points[1].max() - top
        k = np.random.random_sample() * 0.2 + 0.2  # noqa: NPY002  # as public code has it
        box = (left - 0.6 * k * width, top - 2 * k * height, left + (1 + 0.6 * k) * width, top + (1 + 0.6 * k) * height)
        left, top, right, bottom = (int(edge) for edge in box)
        image = Image.open(path).convert("RGB").crop((left, top, right, bottom))
        return self.transform(image), torch.tensor([yaw, pitch, roll])


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=300, help="of the tree, 16 images each")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--out", type=Path, help="keep data.json, data.md and data.png in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root, packed = Path(temporary) / "tree", Path(temporary) / "tree.arrow"
        make_tree(root, identities(None)[: arguments.identities], 16 * arguments.identities)
        records = read_300w_lp(root)
        prepare(records, root, packed, read_300w_lp, 99.0)
        results: dict[str, dict[str, float]] = {}
        for way in WAYS:
            for _ in range(TURNS):
                for loader in (USUAL, FOLDER, PACKED, LIMIT):
                    found = _in_a_process(loader, root, packed, way, arguments.seconds)
                    kept = results.setdefault(f"{loader}/{way}", found)
                    if found["images_per_second"] > kept["images_per_second"]:
                        results[f"{loader}/{way}"] = found
    table = as_table(results)
    print(table)
    described = json.dumps({"results": results} | describe("torch", "opencv-python", "albumentations", "pyarrow"))
    print(described)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "data.json").write_text(described + "\n", encoding="utf-8")
        (arguments.out / "data.md").write_text(table + "\n", encoding="utf-8")
        plot(results, arguments.out / "data.png")


def _in_a_process(loader: str, root: Path, packed: Path, way: str, seconds: float) -> dict[str, float]:
    """One measurement in a process of its own: its memory and start-up are then its own too."""
    task = json.dumps([loader, str(root), str(packed), *WAYS[way], seconds])
    command = [sys.executable, "-c", "import benchmarks.data as b; b.measure()", task]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"{loader}, {way}: {done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure() -> None:
    """The measuring process: prints one line of JSON."""
    loader, root, packed, cores, workers, seconds = json.loads(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    begin = time.perf_counter()
    batches = LOADERS[loader](root, packed, workers)
    next(batches)
    start_up = time.perf_counter() - begin
    begin, images = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        images += next(batches)
    rate = images / (time.perf_counter() - begin)
    own, each = memory()
    measured = {"images_per_second": rate, "start_up_s": start_up, "main_mb": own, "worker_mb": each}
    print(json.dumps({key: round(value, 3) for key, value in measured.items()}))


def memory() -> tuple[float, float]:
    """Resident megabytes of this process, and the most that one of its children has for itself alone."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    own = _smaps(os.getpid(), ("Rss",))
    return own, max((_smaps(int(child), ("Private_Clean", "Private_Dirty")) for child in children), default=0.0)


def _smaps(process: int, fields: tuple[str, ...]) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in fields) / 1e3


def training_data(root: str, packed: str | None, workers: int, **overrides: Any) -> PoseDataModule:
    """300W-LP's data module with the published augmentation."""
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = compose(
            "train",
            [
                "data=300w_lp",
                "augment=published",
                f"data.root={root}",
                f"image_size={SIZE}",
                f"data.identities_per_batch={BATCH // 2}",
                f"data.num_workers={workers}",
                *(f"{key}={value}" for key, value in overrides.items()),
            ],
        )
    config.data.packed = packed
    data: PoseDataModule = build(config.data)
    return data


def _ours(root: str, packed: str | None, workers: int) -> Iterator[int]:
    data = training_data(root, packed, workers)
    loader = data.train_dataloader()
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # it is our own sampler
        for batch in loader:
            yield len(batch["image"])
        epoch += 1


def _usual(root: str, packed: str, workers: int) -> Iterator[int]:
    paths = sorted(str(path) for path in Path(root).glob("[!C]*/*.jpg"))
    for path in paths:  # at each start, to leave out angles beyond 99 degrees
        loadmat(f"{path[:-4]}.mat")
    loader = DataLoader(UsualDataset(paths), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        for image, _ in loader:
            yield len(image)


class _Limit(Dataset[int]):
    """Decoding and one warp, nothing else: not even the pixels leave the process."""

    def __init__(self, packed: str) -> None:
        self.records = open_packed(packed)
        self.matrices = [crop_matrix(face_points(self.records[i]), SIZE, View()) for i in range(len(self.records))]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> int:
        image = read_image(self.records.images[index])
        return int(cv2.warpAffine(image, self.matrices[index], (SIZE, SIZE), flags=cv2.INTER_LINEAR)[0, 0, 0])


def _limit(root: str, packed: str, workers: int) -> Iterator[int]:
    dataset = _Limit(packed)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        for values in loader:
            yield len(values)


LOADERS: dict[str, Callable[[str, str, int], Iterator[int]]] = {
    USUAL: _usual,
    FOLDER: lambda root, packed, workers: _ours(root, None, workers),
    PACKED: _ours,
    LIMIT: _limit,
}


def as_table(results: dict[str, dict[str, float]]) -> str:
    """The measurements in Markdown."""
    lines = [
        "| loader | on | images/s | against the usual | of the limit | start-up, s | main, MB | worker's own, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, found in results.items():
        loader, way = key.split("/")
        rate = found["images_per_second"]
        usual, limit = (results[f"{other}/{way}"]["images_per_second"] for other in (USUAL, LIMIT))
        worker = f"{found['worker_mb']:.0f}" if found["worker_mb"] else "-"
        speed = f"{rate:.0f} | {rate / usual:.2f} | {rate / limit:.0%}"
        lines.append(f"| {loader} | {way} | {speed} | {found['start_up_s']:.2f} | {found['main_mb']:.0f} | {worker} |")
    for loader in (USUAL, FOLDER, PACKED, LIMIT):
        alone, one, every = (results[f"{loader}/{way}"]["images_per_second"] for way in WAYS)
        lines.append(
            f"\n{loader}: all cores over one {every / one:.2f} with loader processes, {every / alone:.2f} without."
        )
    return "\n".join(lines)


def plot(results: dict[str, dict[str, float]], path: Path) -> None:
    """Bars of images a second."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    height = 0.8 / len(WAYS)
    for k, way in enumerate(WAYS):
        rates = [results[f"{loader}/{way}"]["images_per_second"] for loader in (USUAL, FOLDER, PACKED, LIMIT)]
        bars = axes.barh(np.arange(4) + k * height, rates, height, label=way)
        axes.bar_label(bars, [f"{rate:.0f}" for rate in rates], padding=3)
    axes.set_yticks(np.arange(4) + height, [USUAL, FOLDER, PACKED, LIMIT])
    axes.invert_yaxis()
    axes.set_xlabel("training images a second, 224 pixels")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
