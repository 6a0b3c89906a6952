"""Takes a training step with each of the named networks, in a process of its own each: `backbone_steps.py NAMES...`.

A name is `=CHOICE` of the group `backbone`, or that of a timm model. What torch does wrong in native code kills or
hangs a process, so this is none that tests run in. Prints a JSON object: by name `ok`, or how the process ended.
"""

import json
import os
import signal
import sys
import time
import traceback

import torch
from hydra import compose, initialize_config_dir

from rankpose.command.training import make_task
from rankpose.files import CONFIG_DIR

LIMIT_S = 1200
"""For what hangs; a step takes seconds."""


def step(name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = [f"backbone={name[1:]}"] if name[0] == "=" else ["backbone=resnet18", f"backbone.name={name}"]
        config = compose("train", [*chosen, "backbone.pretrained=false", "run_dir=RUN"])
    task = make_task(config)
    image = torch.randint(0, 256, (4, 3, config.image_size, config.image_size), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.trainer.precision == "bf16-mixed"):
        terms = task.loss(task(image), torch.randn(4, 3) * 20, torch.tensor([0, 0, 1, 1]))
    terms["loss"].backward()
    # a backbone may have a layer whose gradient is exactly zero on so few images, none may have a broken one
    gradients = [p.grad for p in task.net.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def in_a_child(name: str) -> str:
    """Forked before torch has started a thread, so that its import is paid for once."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            step(name)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    since = time.monotonic()
    while time.monotonic() - since < LIMIT_S:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "ok" if code == 0 else f"exit {code}" if code > 0 else signal.Signals(-code).name
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


if __name__ == "__main__":
    print(json.dumps({name: in_a_child(name) for name in sys.argv[1:]}))
