"""The door: where Hydra's configuration is, and how it becomes plain objects. Only entry points import this."""

import difflib
import functools
import inspect
import logging
import os
import re
import sys
import traceback
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rankpose.checks import fault, simple
from rankpose.command.help import choices, groups_of, help_page
from rankpose.command.hydra_private import full_key
from rankpose.errors import ConfigError, one_line, one_line_errors, say_anything, user_error
from rankpose.files import CONFIG_DIR
from rankpose.run.job import Job
from rankpose.run.keys import from_home, literal, quoted, typed
from rankpose.run.stored import to_store


def computes_on_gpu(accelerator: str = "auto") -> bool:
    """Whether a run with this `trainer.accelerator` computes on an NVIDIA GPU."""
    import torch

    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


OmegaConf.register_new_resolver(
    "on_gpu", lambda accelerator, there, elsewhere: there if computes_on_gpu(accelerator) else elsewhere, replace=True
)
OmegaConf.register_new_resolver("output_dir", lambda: output_dir(), replace=True)


def output_dir() -> str:
    """The folder that Hydra has made for this run, whatever characters its name has."""
    # a `${` in it would be taken for a reference
    runtime: Any = OmegaConf.to_container(HydraConfig.get().runtime)
    return str(runtime["output_dir"])


def told(hydra: Any) -> list[str]:
    """The overrides of Hydra's own part as they were typed, references and all."""
    overrides: Any = OmegaConf.to_container(hydra.overrides.task)
    return list(overrides)


def current_job() -> Job:
    """The run that Hydra has started in this process; an empty `Job` outside of Hydra."""
    if not HydraConfig.initialized():
        return Job()
    hydra = HydraConfig.get()
    sweep = Path(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else None
    return Job(chosen(hydra), tuple(told(hydra)), sweep)


def chosen(hydra: Any) -> dict[str, str]:
    """Group to choice, for groups with one, as Hydra's own part says."""
    choices = hydra.runtime.choices.items()
    return {group: choice for group, choice in choices if choice is not None and not group.startswith("hydra/")}


def stopped_by(config: DictConfig) -> dict[str, Any]:
    """What stops a run, as `callbacks.last` says, and its exit code then."""
    last = OmegaConf.select(config, "callbacks.last") or {}
    return {key: last[key] for key in ("signals", "exit_code") if key in last}


def texts_of(argument: str) -> list[str]:
    """The texts of `KEY=VALUE`, `KEY=A,B` or `KEY=[A,B]` as Hydra reads them; null and nothing are none.

    Raises:
        ConfigError: Hydra cannot read it.
    """
    try:
        found = OverridesParser.create().parse_override(argument).value()
        parts = found.list if isinstance(found, ChoiceSweep) else found if isinstance(found, list) else [found]
        texts = [part.text if isinstance(part, QuotedString) else part for part in parts]
        resolved = [OmegaConf.create({"text": text}).text for text in texts]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_unreadable(argument, error)) from error
    return [str(text) for text in resolved if text not in (None, "")]


def at_home(argument: str) -> str:
    """`KEY=~/PATH` with the home folder in it, which a shell fills in only where an argument begins with it."""
    key, equals, value = argument.partition("=")
    return key + _TEXT.sub(_from_home, equals + value)


_TEXT = re.compile(
    r"""(?P<quote>["'])(?P<text>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)"""
    r"""|(?<=[=,\[({:\s])(?P<bare>~(?:/(?:\$\{[^}]*\}|[^,\])}])*)?)(?=[,\])}]|\Z)""",
    re.DOTALL,
)
"""A quoted text of an override, or a bare one that begins with the home folder."""


def _from_home(found: re.Match[str]) -> str:
    text = found["bare"] or found["text"]
    path = from_home(text)
    if path == text:
        return found[0]
    home = str(Path.home())
    quote = found["quote"] or ("" if quoted(home) == home else '"')
    return f"{quote}{path}{quote}"


def entry_point(
    name: str, *rewrites: Callable[[Sequence[str]], list[str]]
) -> Callable[[Callable[[DictConfig], Any]], Callable[..., Any]]:
    """Makes `main(config)` a command: `hydra.main`, with one line for a mistake on the command line.

    Args:
        name: of the command and of its file in `conf/`.
        rewrites: one after the other, from the arguments as given to those that Hydra gets.
    """

    def decorate(main: Callable[[DictConfig], Any]) -> Callable[..., Any]:
        @functools.wraps(main)
        def task(config: DictConfig) -> Any:
            if HydraConfig.get().job.chdir:
                os.chdir(HydraConfig.get().runtime.cwd)  # a path on the command line is meant from there
            if sys.argv[1:] == rewritten:
                sys.argv[1:] = given  # what Lightning starts its other processes with
            try:
                return main(config)
            except (HydraException, OmegaConfBaseException) as error:
                # here and not outside: Hydra tells of what leaves a job in lines of its own
                return one_line_errors(_refuse)(explained(error, name, rewritten))

        given: list[str] = []
        rewritten: list[str] = []
        run = hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name=name)(task)

        @functools.wraps(main)
        def command() -> Any:
            say_anything()
            given[:] = sys.argv[1:]
            if {"-h", "--help"} & set(given):
                return print(help_page(Path(CONFIG_DIR), name))
            # otherwise Hydra prints several lines of its own and ends the process
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                _check_letters([*given, str(Path.cwd())])
                _check_dashes(given)
                wanted = [at_home(argument) for argument in given]
                for rewrite in rewrites:
                    wanted = rewrite(wanted)
                # Hydra's parser takes flags only before or after all other arguments
                rewritten[:] = sorted(
                    _without_nulls(wanted, name), key=lambda argument: argument not in ("-m", "--multirun")
                )
                sys.argv[1:] = rewritten
                return run()
            except Exception as error:
                mistake = user_error(error) or _no_folder(error)
                if mistake is None and not isinstance(error, HydraException | OmegaConfBaseException):
                    raise
                print(f"error: {mistake or explained(error, name, rewritten)}", file=sys.stderr)
                sys.exit(1)
            finally:
                sys.argv[1:] = given

        return command

    return decorate


def _without_nulls(arguments: Sequence[str], name: str) -> list[str]:
    """`GROUP=null`, which Hydra takes in a file but not on a command line, as Hydra writes it: `~GROUP`.

    The last word on a group counts, as it does for Hydra.
    """
    groups = groups_of(Path(CONFIG_DIR), name)
    last = {key: value for key, _, value in (argument.partition("=") for argument in arguments) if key in groups}
    emptied = [group for group, value in last.items() if value == "null"]
    kept = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in emptied and not (key in groups and value == "null"):
            kept.append(argument)
    return [*kept, *(f"~{group}" for group in emptied if groups[group] is not None)]


def _refuse(message: str) -> None:
    raise ConfigError(message)


def _no_folder(error: Exception) -> ConfigError | None:
    """The mistake behind a folder that Hydra could not make for the run."""
    if not isinstance(error, OSError) or traceback.extract_tb(error.__traceback__)[-1].name != "mkdir":
        return None
    return ConfigError(f"{error.filename}: the folder cannot be made ({error.strerror}); choose another hydra.run.dir.")


def _check_letters(texts: Sequence[str]) -> None:
    """Letters that Python could not decode would be in no file's name, and in no UTF-8 file."""
    for text in texts:
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            known = os.fsencode(text).decode(errors="replace")
            raise ConfigError(
                f"{known}: is no name in {sys.getfilesystemencoding()}, as names are here. Set PYTHONUTF8=1."
            )


def _check_dashes(arguments: Sequence[str]) -> None:
    for argument in arguments:
        if argument.startswith("--") and "=" in argument and argument.partition("=")[0] not in _OPTIONS_WITH_VALUE:
            raise ConfigError(f"{argument}: keys are given without dashes: {argument.lstrip('-')}.")


_OPTIONS_WITH_VALUE = ("--cfg", "--config-dir", "--config-name", "--config-path", "--info", "--package")
"""Of Hydra."""


def explained(error: Exception, name: str, arguments: Sequence[str]) -> str:
    """One line for what Hydra says of a command line: which argument is wrong, and what would be right.

    Args:
        error: that Hydra or OmegaConf raised.
        name: of the command.
        arguments: of the command line.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), error)
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        near = difflib.get_close_matches(choice, error.options, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{group}={choice}: no such choice.{hint} There are {', '.join(error.options)}."
    return _unknown_key(name, arguments) or _one_line(error)


def _unreadable(argument: str, error: Exception) -> str:
    said = f"{argument}: cannot be read as KEY=VALUE ({_one_line(error).removeprefix('Error parsing ')})."
    key, equals, value = argument.partition("=")
    # for Hydra and for the shell
    return f"{said} A text with such characters is quoted twice: {typed(key, value)}" if equals else said


def _unknown_key(name: str, arguments: Sequence[str]) -> str | None:
    """The first argument that sets a key which the configuration has not; None where there is none such."""
    parser = OverridesParser.create()
    given = []
    for argument in arguments:
        if not argument.startswith("-"):
            try:
                given.append((argument, parser.parse_override(argument)))
            except HydraException:
                continue  # a value of one of Hydra's options
    groups = groups_of(Path(CONFIG_DIR), name)
    chosen = []
    for argument, override in given:
        key = override.key_or_group
        if key in groups and not override.is_sweep_override() and argument[0] not in "+~":
            chosen.append(argument)
        elif (Path(CONFIG_DIR) / key).is_dir() and key not in groups and not key.startswith("hydra"):
            near = difflib.get_close_matches(key, groups, n=1)
            way_out = _hint(near) or f"rankpose.{name} chooses among {', '.join(groups)}."
            return f"{argument}: no group of this command. {way_out}"
    try:
        config = composed(name, chosen, hydra=True)
    except HydraException:
        return None
    for argument, override in given:
        key = override.key_or_group
        if key in groups or override.is_force_add() or "@" in argument.partition("=")[0]:
            continue
        there = key in _keys(config)
        if override.is_add() and there:
            return f"{argument}: {key} is there already: leave the plus sign out."
        if not override.is_add() and not there:
            known = [one for one in _keys(config) if one.startswith("hydra") == key.startswith("hydra")]
            elsewhere = _choices_with(key, groups)
            if elsewhere:
                return f"{argument}: no such key{_where(key, config)}, but in {', '.join(elsewhere)}."
            near = _closest(key, [*groups, *known])
            way_out = _hint(near) or f"python -m rankpose.{name} --cfg job prints all keys."
            return f"{argument}: no such key{_where(key, config)}. {way_out}"
    return None


def _choices_with(key: str, groups: Iterable[str]) -> list[str]:
    """The choices whose file sets a key of their group: `loss=rank_mse` for `loss.weight`."""
    group, _, rest = key.partition(".")
    if group not in groups or not rest:
        return []
    files = sorted((Path(CONFIG_DIR) / group).glob("*.yaml"))
    return [f"{group}={file.stem}" for file in files if OmegaConf.select(OmegaConf.load(file), rest) is not None]


def _where(key: str, config: DictConfig) -> str:
    """Which choice has not the key, for a key below a group."""
    group = key.split(".")[0]
    choice = config.hydra.runtime.choices.get(group)
    return f" in {group}={choice}" if choice and group != key else ""


def _hint(near: Sequence[str]) -> str:
    return f"Did you mean {' or '.join(near)}?" if near else ""


def _closest(key: str, known: Sequence[str]) -> list[str]:
    """Known keys that someone who wrote `key` may have meant: of the same name elsewhere, or spelt nearly so."""
    last = key.rpartition(".")[2]
    moved = [one for one in known if one.rpartition(".")[2] == last]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    spelt = difflib.get_close_matches(last, {one.rpartition(".")[2] for one in known}, n=1, cutoff=0.7)
    return moved[:3] or near or [one for one in known if one.rpartition(".")[2] in spelt][:3]


def _keys(config: DictConfig) -> list[str]:
    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    return list(walk(OmegaConf.to_container(config, resolve=False), ""))


def composed(name: str, overrides: Sequence[str] = (), hydra: bool = False) -> DictConfig:
    """The configuration of a command; works inside and outside of one.

    Args:
        name: of the command.
        overrides: as on its command line.
        hydra: keep Hydra's own part.
    """
    from hydra import compose, initialize_config_dir

    if GlobalHydra.instance().is_initialized():
        return compose(name, list(overrides), return_hydra_config=hydra)
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=hydra)


def _one_line(error: BaseException) -> str:
    """What an exception and, where Hydra wrapped one of OmegaConf, its cause say, without places in the code."""
    said = [str(error), str(error.__cause__) if isinstance(error.__cause__, OmegaConfBaseException) else ""]
    lines = [line.strip() for text in said for line in text.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=", "See https")))


def quiet_libraries() -> None:
    """Keeps Lightning's advertisements and other libraries' deprecation notes out of what a user reads."""
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("callbacks.model_summary", "profilers.profiler"):  # what was asked for by an option
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.INFO)
    for message in (".*LeafSpec.*", ".*weights_only.*", ".*could not find the monitored key.*", ".*num_workers.*"):
        warnings.filterwarnings("ignore", message, module="pytorch_lightning.*")


def build(config: DictConfig | Mapping[str, Any], **overrides: Any) -> Any:
    """What a configuration with `_target_` describes; a user's mistake found on the way is raised as such.

    Raises:
        RankPoseError: found by what is built.
        ConfigError: a key that the target does not take, or a value that it refuses.
    """
    place = full_key(config) if isinstance(config, DictConfig) else ""
    try:
        content = checked(config) if isinstance(config, DictConfig) else config
        with warnings.catch_warnings():
            # albumentations goes on without an argument that it does not know
            warnings.filterwarnings("error", r"Argument\(s\) .* not valid for transform", UserWarning)
            # references are resolved by now; Hydra would look for some twice in the texts that came of them
            return hydra.utils.instantiate(literal(literal(content)), _convert_="all", **overrides)
    except MissingMandatoryValue as error:
        key = ".".join(part for part in (place, error.full_key) if part)
        raise ConfigError(f"{key} is not set: give {key}=VALUE.") from error
    except InstantiationException as error:
        mistake = user_error(error)
        if mistake is not None:
            raise mistake from error
        cause = error.__cause__
        said = _one_line(error) if cause is None else one_line(cause)
        below = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
        place = ".".join(part for part in (place, below and below[1]) if part)
        raise ConfigError(said if _names(said, place) else f"{place}: {said}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_one_line(error)) from error


@contextmanager
def refusals() -> Iterator[None]:
    """What Lightning refuses of its own options once it has seen the data is a user's mistake.

    Raises:
        ConfigError: instead of Lightning's error.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: {one_line(error)}") from error


def _names(said: str, place: str) -> bool:
    """Whether a message opens with a key of the configuration itself."""
    return not place or re.match(r"[a-z_]+(\.[a-z_]+)*[=:]", said) is not None


def checked(config: DictConfig | Mapping[str, Any]) -> Any:
    """A configuration as plain dicts and lists, its numbers held against the signatures of its targets.

    Raises:
        ConfigError: a signature asks for a number or a truth value, and something else is given.
    """
    _check_types(config)
    return plain(config)


def check_own_keys(config: DictConfig, name: str) -> None:
    """Holds the top level of a command's configuration, which no signature stands for, against its file's defaults.

    Raises:
        ConfigError: the file has a number or a truth value, and something else is given; or a group is left out.
    """
    for group, choice in groups_of(Path(CONFIG_DIR), name).items():
        if choice is not None and "/" not in group and group not in (*_MAY_LACK, *config):
            raise ConfigError(f"{group}: is left out. Choose one of {', '.join(choices(Path(CONFIG_DIR), group))}.")
    defaults: Any = OmegaConf.to_container(OmegaConf.load(Path(CONFIG_DIR) / f"{name}.yaml"))
    for key, default in defaults.items():
        said = fault(type(default), config[key]) if isinstance(default, bool | int | float) else None
        if said is not None:
            raise ConfigError(f"{key}={config[key]}: must be {said}.")


_MAY_LACK = ("logger", "callbacks")
"""Groups without which a command does its work."""


def _check_types(config: Any) -> None:
    for key in config:
        if not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig):
            _check_types(config[key])
    target = config.get("_target_")
    if not isinstance(target, str):
        return
    try:
        found: Any = hydra.utils.get_object(target)
        hints = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    except Exception:  # what cannot be imported or is annotated in another way is told when it is built
        return
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    for key, hint in hints.items():
        if key in config and not OmegaConf.is_missing(config, key):
            certain = simple(hint)
            said = None if certain is None else fault(certain, config[key])
            if said is not None:
                source = raw[key] if OmegaConf.is_interpolation(config, key) else ""
                name = source[2:-1] if source else full_key(config, key)
                raise ConfigError(f"{name}={config[key]}: must be {said}.")


def plain(config: Any) -> Any:
    """A configuration as plain dicts and lists, everything resolved."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def stored(config: DictConfig) -> dict[str, Any]:
    """The configuration of a run as it is kept.

    Args:
        config: of the run that Hydra has started in this process, or one with Hydra's own part.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return to_store(plain(own), chosen(config.hydra) if "hydra" in config else current_job().choices)


def stored_text(stored: Mapping[str, Any]) -> str:
    """The same as a file holds it; OmegaConf quotes what YAML's other readers would not take for a text."""
    return OmegaConf.to_yaml(OmegaConf.create(literal(stored)), resolve=True)
