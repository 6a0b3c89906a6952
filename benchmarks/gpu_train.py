"""How fast does a GPU train, and does it wait for data? `python -m benchmarks.gpu_train [--devices N]`

Makes its own packed renders, then trains the real task with AdamW in each of some modes: `float32` (matrix products in
TF32), `bf16` (bf16-mixed) and `bf16_compiled` (the network compiled besides). Each trains twice, in processes of its
own: from a few batches that stay on the device, and from the real loader. `--devices N` trains on N devices with DDP.
Prints a table and, last, JSON; `--out FOLDER` keeps both. Without a GPU it measures the CPU, for which
`--backbone resnet10_slim --size 64 --batch 32 --seconds 2` is quick.

A step is counted once the loader's queue has been emptied once, so the rate from the loader is one that lasts.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning.profilers import SimpleProfiler
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import training_data
from benchmarks.machine import describe
from benchmarks.tree import identities, make_tree
from rankpose.command.configuration import quiet_libraries
from rankpose.command.training import make_task
from rankpose.data import pool
from rankpose.data.datamodule import PoseDataModule
from rankpose.data.packed.writing import prepare
from rankpose.data.readers.w300lp import read_300w_lp
from rankpose.files import CONFIG_DIR
from rankpose.task import PoseTask

MODES = {"float32": ("32-true", False), "bf16": ("bf16-mixed", False), "bf16_compiled": ("bf16-mixed", True)}
"""Lightning's precision, and whether the network is compiled."""
WARM_UP, PROBED = 10, 5
"""Steps before the measurement, and how many of them tell its length."""
EPOCH_STEPS = 3_000
"""An epoch's start empties the loader's queue: all that is measured lies within one."""
RESIDENT = 4
"""Batches that stay on the device."""
MAX_ANGLE = 99.0
FETCH = "[_TrainingEpochLoop].train_dataloader_next"
"""Lightning's name for taking a batch from the loader."""


def main() -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50", help="a choice of conf/backbone")
    parser.add_argument("--size", type=int, default=224, help="side of the network's input, pixels")
    parser.add_argument("--batch", type=int, default=256, help="images a step of each device, an even number")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement, at least")
    parser.add_argument("--modes", default=",".join(MODES), help="of them, separated by commas")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep gpu_train.json and gpu_train.md in this folder")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)  # given to the processes that measure
    arguments = parser.parse_args()
    if arguments.task is not None:
        measure(**arguments.task)
        return
    modes = arguments.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"--modes: {', '.join(sorted(unknown))} is none of {', '.join(MODES)}")
    if arguments.batch < 2 or arguments.batch % 2:
        parser.error(f"--batch {arguments.batch}: pairs of images need an even number")
    settings = {name: getattr(arguments, name) for name in ("backbone", "size", "batch", "seconds", "devices")}
    report: dict[str, Any] = {
        "settings": settings,
        "flop_per_image": flop_per_image(arguments.backbone, arguments.size),
    }
    with tempfile.TemporaryDirectory() as temporary:
        root, packed = Path(temporary) / "tree", Path(temporary) / "tree.arrow"
        count = max(32, arguments.batch)  # twice as many as stand in a batch
        make_tree(root, identities(None)[:count], 16 * count)
        prepare(read_300w_lp(root), root, packed, read_300w_lp, MAX_ANGLE)
        report["results"] = {mode: _both(settings | {"mode": mode, "packed": str(packed)}) for mode in modes}
        try:
            report["loader_images_per_second"] = loader_rate(str(packed), arguments.size, arguments.batch)
        except RuntimeError as error:  # as where shared memory is too small for the batches
            report["loader_failed"] = str(error)
    report["tflops"] = matrix_rates()
    report |= describe("torch", "pytorch-lightning", "timm")
    table, described = as_table(report), json.dumps(report)
    print(f"{table}\n{described}")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "gpu_train.json").write_text(described + "\n", encoding="utf-8")
        (arguments.out / "gpu_train.md").write_text(table + "\n", encoding="utf-8")


def _both(task: dict[str, Any]) -> dict[str, Any]:
    """A mode's figures from the device and from the loader, or `failed`: why there are none."""
    try:
        return {place: _in_a_process(task | {"resident": place == "on_device"}) for place in ("on_device", "loaded")}
    except RuntimeError as error:
        return {"failed": str(error)}


def _in_a_process(task: dict[str, Any]) -> dict[str, float]:
    """One measurement in processes of its own: its memory is its own, and a failure ends no other."""
    print(f"{task['mode']}, {'on the device' if task['resident'] else 'loaded'} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        # as a module, which Lightning starts again for each further device
        command = [sys.executable, "-m", "benchmarks.gpu_train", "--task", json.dumps(task | {"found": str(found)})]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, encoding="utf-8"
        )
        if done.returncode or not found.exists():
            raise RuntimeError(_reason(done.stdout) or f"ended with {done.returncode}")
        figures: dict[str, float] = json.loads(found.read_text(encoding="utf-8"))
        return figures


def _reason(output: str) -> str:
    """The error in what a failed process wrote: the last line that opens as one, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [
        line for line in lines if re.match(r"(\[rank\d+\]: )?([\w.]*(Error|Exception)\b|[a-z]\w*\.[\w.]+: )", line)
    ]
    return (named or lines or [""])[-1][:200]


def measure(
    mode: str,
    backbone: str,
    size: int,
    batch: int,
    seconds: float,
    devices: int,
    packed: str,
    resident: bool,
    found: str,
) -> None:
    """The measuring process: writes its figures into the file `found`."""
    quiet_libraries()
    pl.seed_everything(0, verbose=False)
    torch.set_float32_matmul_precision("high")  # TF32
    precision, compiled = MODES[mode]
    task = _task(backbone, size)
    if compiled:
        task.net.compile()
    watch, profiler = Stopwatch(seconds), SimpleProfiler()
    trainer = pl.Trainer(
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]  # one of Lightning's names
        max_epochs=1,
        limit_val_batches=0,
        benchmark=True,
        callbacks=[watch],
        profiler=profiler,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # our sampler divides the work itself
    )
    workers = max(1, pool.usable_cores() // devices)
    if resident:
        batches = [
            {name: column.to(trainer.strategy.root_device) for name, column in fixed.items()}
            for fixed in islice(_data(packed, size, batch, 0, devices).train_dataloader(), RESIDENT)
        ]
        trainer.fit(task, DataLoader(batches * (EPOCH_STEPS // RESIDENT), batch_size=None))  # type: ignore[arg-type]
    else:
        trainer.fit(task, datamodule=_data(packed, size, batch, workers, devices))
    if not trainer.is_global_zero:
        return
    fetching = profiler.recorded_durations[FETCH][watch.first : watch.last]
    figures = {
        "images_per_second": (watch.last - watch.first) * batch * devices / watch.seconds,
        "waiting_share": sum(fetching) / watch.seconds,
        "steps": watch.last - watch.first,
        "seconds": watch.seconds,
    }
    if torch.cuda.is_available():
        figures["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    Path(found).write_text(json.dumps(figures), encoding="utf-8")


class Stopwatch(pl.Callback):
    """Times training steps `first` to `last`, `at_least` seconds of them, and ends the training.

    The steps before `first` empty the loader's queue, which had time to fill while the first step compiled or chose its
    kernels, and those that are timed are at least twice as many as the queue holds.
    """

    def __init__(self, at_least: float) -> None:
        self.at_least = at_least
        self.first = self.last = self.most = self.queue = 0
        self.seconds = self._begin = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        self.queue = loader.num_workers * (loader.prefetch_factor or 0)
        self.first, self.most = self.queue + WARM_UP, len(loader)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = batch_idx + 1
        if step == self.first - PROBED:
            self._begin = _now()
        elif step == self.first:
            steps = math.ceil(self.at_least * PROBED / (_now() - self._begin))
            last = min(self.most, step + max(steps, 2 * self.queue))
            self.last = trainer.strategy.broadcast(last)  # all processes end with the same step
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()  # the search for fast kernels took more
            self._begin = _now()
        elif step == self.last:
            self.seconds = _now() - self._begin
            trainer.should_stop = True


def _now() -> float:
    """Seconds, once the device has done all that it was told to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _task(backbone: str, size: int) -> PoseTask:
    """The task as `python -m rankpose.train` makes it."""
    choices = [f"backbone={backbone}", "optimizer=adamw", "schedule=constant", f"image_size={size}"]
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return make_task(compose("train", choices))


def _data(packed: str, size: int, batch: int, workers: int, devices: int) -> PoseDataModule:
    """The packed renders, with an epoch of at least `EPOCH_STEPS` steps."""
    changes = {
        "image_size": size,
        "data.max_angle": MAX_ANGLE,
        "data.identities_per_batch": batch // 2,
        # each visit gives two images, and a set has at least `batch` identities, 9 in 10 of them to train on
        "data.draws_per_identity": EPOCH_STEPS * devices,
    }
    return training_data("unused", packed, workers, **changes)


def loader_rate(packed: str, size: int, batch: int) -> float:
    """Images a second that the loader gives with all cores where nobody trains."""
    loader = _data(packed, size, batch, pool.usable_cores(), 1).train_dataloader()
    queue = loader.num_workers * (loader.prefetch_factor or 0)
    batches = iter(loader)
    for _ in range(queue + WARM_UP):
        next(batches)
    begin = time.perf_counter()
    for _ in range(2 * queue):
        next(batches)
    return 2 * queue * batch / (time.perf_counter() - begin)


def flop_per_image(backbone: str, size: int) -> int:
    """Floating-point operations of the network for one image, forward and backward."""
    net, images = _task(backbone, size).net, torch.zeros(2, 3, size, size, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter:
        net(images).pose.sum().backward()
    return int(counter.get_total_flops()) // len(images)


def matrix_rates() -> dict[str, float]:
    """What the machine can do at most: 1e12 operations a second in products of large matrices, best of several."""
    torch.set_float32_matmul_precision("high")
    device, side, times = ("cuda", 8192, 20) if torch.cuda.is_available() else ("cpu", 512, 2)
    rates = {}
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        seconds = []
        for _ in range(6):  # the first is a warm-up, too slow to be the best
            begin = _now()
            for _ in range(times):
                left @ right
            seconds.append(_now() - begin)
        rates[name] = 2 * side**3 * times / min(seconds) / 1e12
    return rates


def as_table(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    settings, tflops, flop = report["settings"], report["tflops"], report["flop_per_image"]
    gpu = report["gpu"] != "none"
    lines = [
        f"{settings['backbone']} at {settings['size']} pixels, {settings['batch']} images a step of each device, "
        f"{settings['devices']} x {report['gpu'] if gpu else report['machine']}",
        "" if gpu else "\nThere is no GPU here: the figures are the CPU's.\n",
        "| mode | images/s, data on the device | images/s, loaded | below | waiting for data | peak memory, GB "
        "| TFLOP/s a device | of the matrix rate |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for mode, found in report["results"].items():
        if "failed" in found:
            reason = found["failed"].replace("|", "\\|")
            lines.append(f"| {mode} | failed: {reason} | | | | | | |")
            continue
        resident, loaded = (found[place]["images_per_second"] for place in ("on_device", "loaded"))
        reached = loaded / settings["devices"] * flop / 1e12
        peak = f"{found['loaded']['peak_gb']:.1f}" if gpu else "-"
        share = reached / tflops[mode.partition("_")[0]]
        lines.append(
            f"| {mode} | {resident:,.0f} | {loaded:,.0f} | {1 - loaded / resident:.1%} "
            f"| {found['loaded']['waiting_share']:.1%} | {peak} | {reached:.3g} | {share:.0%} |"
        )
    if "loader_failed" in report:
        loader = f"failed: {report['loader_failed']}"
    else:
        loader = f"gives {report['loader_images_per_second']:,.0f} images/s"
    lines.append(
        f"\nProducts of large matrices: {tflops['float32']:.3g} TFLOP/s in {'TF32' if gpu else 'float32'}, "
        f"{tflops['bf16']:.3g} in bf16. The network takes {flop / 1e9:.3g} GFLOP an image, forward and backward. "
        f"The loader alone {loader}. Waiting for data: the share of "
        "time that the training process stands still for a batch, part of which the device may still be busy."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
