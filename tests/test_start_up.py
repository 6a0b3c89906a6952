"""Commands answer before anything large is imported."""

import subprocess
import sys

import pytest

import rankpose

LARGE = ("torch", "pytorch_lightning", "albumentations", "timm", "wandb", "onnx", "onnxruntime", "pandas", "cv2")
SPY = f"""
import atexit, runpy, sys
sys.argv[0] = sys.argv[1] + ".py"
module = sys.argv.pop(1)
atexit.register(lambda: print("LOADED", *(name for name in {LARGE} if name in sys.modules)))
runpy.run_module("rankpose." + module, run_name="__main__")
"""
ANSWERS = {
    **{
        f"{name} --help": (name, "--help")
        for name in (
            *("train", "prepare", "evaluate", "export", "predict", "demo", "compare", "workspace", "label", "probe"),
            "doctor",
        )
    },
    "the configuration": ("train", "--cfg", "job"),
    "a wrong key": ("train", "los=mse"),
    "a wrong choice": ("evaluate", "protocol=biwii"),
    "no such checkpoint": ("evaluate", "checkpoint=nowhere,there"),
    "no pictures to label": ("label", "data.root=nowhere"),
    "nothing to probe": ("probe", "checkpoint=nowhere,there"),
    "no pictures to probe": ("probe", "checkpoint=rankpose-photographs", "images=nowhere"),
    "nothing to export": ("export", "checkpoint=nowhere"),
    "no such folder of runs": ("compare", "nowhere"),
    "no such run to repeat": ("train", "repeat=nowhere"),
    "no such folder to train on": ("train", "data=photographs", "data.root=nowhere"),
    "no such source": ("train", "data=mixture", "data.sources.photographs.root=nowhere"),
    "no such folder to pack": ("prepare", "data=biwi", "data.root=nowhere"),
    "nothing to look at": ("predict",),
    "no such picture": ("predict", "nowhere.jpg", "checkpoint=nowhere"),
    "no such model to look with": ("predict", "..", "checkpoint=nowhere", "draw=none"),
    "no such model for the page": ("demo", "checkpoint=nowhere"),
    "a value that cannot be read": ("evaluate", "checkpoint=a,,b"),
}


@pytest.mark.parametrize("arguments", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_needs_nothing_large(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SPY, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (loaded,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert loaded == "LOADED", done.stderr[-2000:]
    assert done.returncode == 0 or done.stderr.startswith("error: "), done.stderr[-2000:]


def test_the_package_offers_its_names_when_they_are_asked_for():
    bare = f"import rankpose, sys; print(any(name in sys.modules for name in {LARGE}))"
    assert subprocess.check_output([sys.executable, "-c", bare], text=True) == "False\n"
    for name in rankpose.__all__:
        assert getattr(rankpose, name).__name__ == name
        assert name in dir(rankpose)
    with pytest.raises(AttributeError, match="RankMSEs"):
        rankpose.RankMSEs  # noqa: B018
