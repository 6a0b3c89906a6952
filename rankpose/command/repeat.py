"""How is a run repeated? `python -m rankpose.train repeat=RUN [KEY=VALUE...]`.

The command line becomes that of RUN with the new arguments behind it, so that Hydra composes both alike: a key, a
choice of a group, a sweep. What `conf/` says by now may differ from what it said then, so the result is compared with
RUN's `config.yaml`, and where it differs by anything that was not asked for, what stands there counts.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf, open_dict

from rankpose.command.configuration import chosen, composed, plain, stored, texts_of
from rankpose.errors import ConfigError, DatasetError, one_line
from rankpose.run import record as run_record
from rankpose.run.directory import shown
from rankpose.run.keys import Kind, assignment, flat, kind_of, literal, under
from rankpose.run.stored import CHOICES, as_stored

if TYPE_CHECKING:
    from rankpose.data.record import Records

log = logging.getLogger(__name__)

KEY = "repeat"
_WHICH_DATA = (Kind.DATA, Kind.SAMPLE, Kind.SEED)
"""Kinds of keys that decide which records there are."""


def with_recorded_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line with that of the run named by `repeat=RUN` before it.

    A group that is chosen anew drops what RUN set below it: `loss=mse` drops `loss.weight=3`.

    Raises:
        ConfigError: no such run, or one without its files.
    """
    named = [texts_of(argument) for argument in arguments if argument.partition("=")[0] == KEY]
    if not named or not named[-1]:
        return list(arguments)
    run = _run(",".join(named[-1]))
    chosen = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    kept = [given for given in _arguments(run) if not under(_key(given), chosen)]
    return [*kept, *arguments]


def _arguments(run: Path) -> list[str]:
    """The command line of a run, with the choices that were the default then and are no longer."""
    own = list(run_record.read(run)["overrides"])
    today = chosen(composed("train", own, hydra=True).hydra)
    then = _load(run / "config.yaml").get(CHOICES, {})
    return [*(assignment(group, choice) for group, choice in then.items() if today.get(group) != choice), *own]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """What a run records of its command line: all that a repetition needs."""
    return [given for given in overrides if kind_of(_key(given)) != Kind.PLACE]


def _run(name: str) -> Path:
    run = Path(name)
    if not run.is_dir():
        raise ConfigError(f"repeat={name}: no such folder; give that of a run, such as runs/DATE/TIME.")
    for file in ("config.yaml", run_record.FILE):
        if not (run / file).is_file():
            raise ConfigError(f"repeat={name}: holds no {file}; every run of rankpose.train that began has one.")
    return run


class Repeated:
    """A run that is repeated, or none.

    Args:
        name: the folder of the run; None for a run that repeats none.
    """

    def __init__(self, name: str | None) -> None:
        self.run = None if name is None else _run(str(name))
        self.record = {} if self.run is None else run_record.read(self.run)

    def restore(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Makes `config` that of the run in all that the new arguments leave alone, and takes the key `repeat` out.

        Args:
            config: composed from the run's arguments and the new ones.
            overrides: both, as `with_recorded_overrides` gives them.

        Raises:
            ConfigError: the run's `config.yaml` cannot be read.
        """
        with open_dict(config):
            config.pop(KEY, None)
        if self.run is None:
            return
        recorded = dict(flat(as_stored(_load(self.run / "config.yaml"))))
        # what the run's own arguments give today: the rest of the difference was asked for
        own = _arguments(self.run)
        place = [assignment("run_dir", recorded["run_dir"]), "ckpt_path=null"]
        today_config = composed("train", [*own, *place], hydra=True)
        today = dict(flat(stored(today_config)))
        raw_then, raw_now = (dict(flat(_raw(one))) for one in (today_config, config))
        changed = []
        for key, value in recorded.items():
            untouched = raw_then.get(key, _ABSENT) == raw_now.get(key, _ABSENT)
            if under(key, [CHOICES]) or kind_of(key) == Kind.PLACE or not untouched or today.get(key, _ABSENT) == value:
                continue
            if key not in today and under(key, {_key(given) for given in overrides if given not in own}):
                continue
            OmegaConf.update(config, key, literal(value), force_add=True)
            if today.get(key) != "auto":  # what is found out each time is no change of conf/
                changed.append(key)
        new = [key for key in today if key not in recorded and kind_of(key) != Kind.PLACE and not under(key, [CHOICES])]
        if changed:
            log.warning("as in %s, though conf/ or this machine says otherwise: %s", shown(self.run), _some(changed))
        if new:
            log.warning("keys that %s had not are as conf/ says: %s", shown(self.run), _some(new))

    def check_data(self, config: DictConfig, parts: Mapping[str, "Records"]) -> None:
        """Raises where the data are not those of the run, unless others were asked for.

        Args:
            config: of the repetition.
            parts: its records, by the name of the part.

        Raises:
            DatasetError: names the run and the folder of the data.
        """
        if self.run is None or run_record.data_digest(parts) == self.record["data"]["digest"]:
            return
        recorded = _load(self.run / "config.yaml")
        present = stored(config) if CHOICES in recorded else plain(config)
        then, now = (_which_data(content) for content in (recorded, present))
        if then == now:
            raise DatasetError(
                f"repeat={shown(self.run)}: the data in {_where(config.data)} are not those of that "
                "run: names, poses, boxes or identities differ. Restore them, or train anew without repeat."
            )
        differing = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
        log.warning("other data than in %s, as asked for: %s differs", shown(self.run), _some(differing))

    def warn(self) -> None:
        """One line each for code, packages and processor that differ from the run's."""
        if self.run is None:
            return
        code, _ = run_record.code_state()
        then = self.record["rankpose"]
        if code["commit"] != then["commit"]:
            log.warning("the code was at git commit %s then, is at %s now", then["commit"], code["commit"])
        if code["changed"] or then["changed"]:
            when = "then and now" if code["changed"] and then["changed"] else "now" if code["changed"] else "then"
            log.warning("the code has changes that are in no git commit: %s", when)
        packages = run_record.versions()
        for name, version in self.record["versions"].items():
            if packages.get(name) != version:
                log.warning("%s was %s then, is %s now", name, version, packages.get(name, "missing"))
        machine = run_record.machine()
        for name in ("cpu", "gpus"):
            if machine[name] != self.record["machine"][name]:
                log.warning(
                    "%s: %s then, %s now", name, self.record["machine"][name] or "none", machine[name] or "none"
                )


_ABSENT = object()


def _where(data: DictConfig) -> str:
    """Where the data of a configuration lie, of one set or of several."""
    sets = data.get("sources", {"": data}).values()
    return ", ".join(str(one.packed or one.root) for one in sets)


def _which_data(config: Mapping[str, Any]) -> dict[str, Any]:
    content = flat(as_stored(config))
    return {key: value for key, value in content if kind_of(key) in _WHICH_DATA}


def _raw(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(content, dict) or "run_dir" not in content:
            raise ValueError("it has no run_dir")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: is not the configuration of a run ({one_line(error)}).") from error
    return {str(key): value for key, value in content.items()}


def _some(keys: Sequence[str], most: int = 5) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
