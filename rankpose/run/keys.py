"""What is a key of a configuration: how is it named, what does it say, and how is its value written?

A key is named as on the command line, with dots: `loss.weight`. `KINDS` says of each key what it is about; whatever
reads configurations (comparing, going on, repeating, naming) asks `kind_of`. `assignment` writes `KEY=VALUE` so that
Hydra reads the value back, `typed` so that a shell does as well. Nothing here needs Hydra.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    """What a key says of a run."""

    PLACE = "where the run lies, and what it goes on from"
    DISPLAY = "how it is shown, saved and fed: nothing of what is learnt hangs on it"
    MACHINE = (
        "what may be otherwise elsewhere: where data lie, and how is computed what comes out the same but for rounding"
    )
    SEED = "how often: which of several runs of a kind it is"
    DATA = "which data it learns from and is tested on"
    SAMPLE = "which of these training gets, and with which labels"
    METHOD = "what is learnt and in which order, all that a checkpoint restores: it stays while a run goes on"
    SETTING = "what figures depend on and a run that goes on may have otherwise"
    LENGTH = "how long it trains"


LEARNT = ("augment", "backbone", "representation", "loss", "optimizer", "schedule")
"""The groups that say what is learnt, and how."""
KINDS: Mapping[str, Kind] = {
    key: kind
    for kind, keys in {
        Kind.PLACE: (
            *("run_dir", "ckpt_path", "repeat", "hydra", "trainer.default_root_dir", "callbacks.prune.run_dir"),
            *("callbacks.checkpoint.dirpath", "callbacks.last.dirpath", "logger.csv.save_dir", "logger.wandb.save_dir"),
        ),
        Kind.DISPLAY: (
            *("logger", "protocols", "data.num_workers", "data.eval_batch_size", "data.strict"),
            *(f"callbacks.{name}" for name in ("learning_rate", "speed", "pictures", "progress", "last", "finite")),
            *("trainer.log_every_n_steps", "trainer.num_sanity_val_steps", "trainer.enable_model_summary"),
            "trainer.plugins",
            # what these choose stands beside them, value by value
            *(f"choices.{group}" for group in ("experiment", "hparams_search", "logger", "callbacks", "trainer")),
        ),
        Kind.MACHINE: (
            *("choices.roots", "data.root", "data.packed", "roots", "compile", "channels_last"),
            *(f"trainer.{name}" for name in ("accelerator", "strategy", "deterministic", "benchmark")),
        ),
        Kind.SEED: ("seed", "data.seed", "callbacks.seed_batches.seed"),
        Kind.DATA: (
            "choices.data",
            *(f"data.{name}" for name in ("reader", "split", "max_angle", "identity", "val", "test")),
        ),
        Kind.SAMPLE: ("data.train_identities", "data.label_noise_deg"),
        Kind.METHOD: (
            *LEARNT,
            *(f"choices.{group}" for group in LEARNT),
            *("image_size", "test_scale", "weight_decay", "lr_scaling", "lr_reference_batch", "ema", "init"),
            *(
                f"data.{name}"
                for name in ("identities_per_batch", "images_per_identity", "draws_per_identity", "pairs")
            ),
            *(f"data.{name}" for name in ("sources", "shares", "weights", "augments", "epoch", "images_per_batch")),
            *("data.augment", "data.size", "data.test_scale", "callbacks.seed_batches"),
            *("trainer._target_", "trainer.devices", "trainer.num_nodes", "trainer.accumulate_grad_batches"),
            *("trainer.limit_train_batches", "trainer.use_distributed_sampler"),
        ),
        Kind.SETTING: (
            *("float32_matmul", "trainer.precision", "trainer.gradient_clip_val", "trainer.sync_batchnorm"),
            *("trainer.check_val_every_n_epoch", "callbacks.checkpoint", "callbacks.prune"),
        ),
        Kind.LENGTH: ("trainer.max_epochs", "trainer.max_steps"),
    }.items()
    for key in keys
}
"""A key stands for all below it that are not named themselves."""

_SOURCE = re.compile(r"^data\.sources\.[^.]+\.")
"""A source of a mixture has the keys of a data set."""

AUTO_PRECISIONS = ("32-true", "bf16-mixed")
"""What `trainer.precision=auto` chooses between."""

COPIES = {"data.augment": "augment", "data.size": "image_size", "data.test_scale": "test_scale"}
"""Keys that repeat another unless they are set by hand."""

RESERVED = ("null", "true", "false", "nan", "inf")
"""Words that are no text for Hydra."""


def flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a plain configuration with their keys, in its order; what is empty is a leaf."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def under(key: str, groups: Iterable[str]) -> bool:
    """Whether a key is one of some, or below one of them."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def classified(key: str) -> Kind | None:
    """What `KINDS` says of a key, by the longest name that it is, or is below; None where it says nothing."""
    key = _SOURCE.sub("data.", key.partition("@")[0])  # a choice may be for another place: choices.data@data.sources.x
    while key and key not in KINDS:
        key = key.rpartition(".")[0]
    return KINDS.get(key)


def kind_of(key: str) -> Kind:
    """What a key says of a run; one that a user has added counts as a setting, which is always told."""
    return classified(key) or Kind.SETTING


def without_copies(content: Mapping[str, Any]) -> dict[str, Any]:
    """A flat configuration without what only repeats another key of it."""
    kept = {}
    for key, value in content.items():
        own = _SOURCE.sub("data.", key)
        copy = next((copy for copy in COPIES if under(own, [copy])), None)
        if copy is None or content.get(COPIES[copy] + own.removeprefix(copy), _ABSENT) != value:
            kept[key] = value
    return kept


_ABSENT = object()


def literal(value: Any) -> Any:
    """A plain value as a configuration must hold it to give it back: a `${` in its texts begins no reference."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)
    if isinstance(value, Mapping):
        return {key: literal(one) for key, one in value.items()}
    return [literal(one) for one in value] if isinstance(value, list) else value


def from_home(text: str) -> str:
    """A path in which a `~` at the start is the home folder; one of a folder that is called so stays."""
    return f"{Path.home()}{text[1:]}" if text == "~" or text.startswith("~/") else text


def quoted(text: str) -> str:
    """A text as Hydra reads it back from a command line; bare where that is the same."""
    if re.fullmatch(r"(\.{0,2}/)?[a-z_][\w./-]*", text, re.ASCII | re.IGNORECASE) and text.lower() not in RESERVED:
        return text
    inner = re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + found[2].replace('"', r"\""), literal(text))
    return f'"{inner}"'


def assignment(key: str, text: str) -> str:
    """`KEY=VALUE` for Hydra, whatever characters the value has: quotes, commas, brackets, spaces."""
    return f"{key}={quoted(text)}"


def typed(key: str, text: str) -> str:
    """`KEY=VALUE` as it is typed in a shell."""
    return shlex.quote(assignment(key, text))
