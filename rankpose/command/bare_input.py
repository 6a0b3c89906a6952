"""How does a command take a file without `KEY=`? `rankpose.predict photo.jpg` means `input=photo.jpg`."""

from collections.abc import Sequence
from pathlib import Path

from rankpose.errors import ConfigError
from rankpose.run.keys import assignment, from_home

_OPTIONS = ("-m", "--multirun")
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")


def with_input(arguments: Sequence[str]) -> list[str]:
    """The command line with its bare argument as `input=`, quoted for Hydra whatever characters it has.

    An argument with an equals sign is a `KEY=VALUE`, unless there is a file of that name.

    Raises:
        ConfigError: two inputs; a sweep, which this command has no use for.
    """
    kept: list[str] = []
    given: list[str] = []
    for place, argument in enumerate(arguments):
        if argument in _OPTIONS:
            raise ConfigError(f"{argument}: rankpose.predict does one input after the other; leave it out.")
        value = place > 0 and arguments[place - 1] in (*_WITH_VALUE, "--info", "-i")
        option = argument.startswith("-") and not argument[1:].isdigit()  # -1 is no camera, which is told as that
        if option or value or ("=" in argument and not _is_file(argument)):
            kept.append(argument)
            if argument.startswith("input="):
                given.append(argument.partition("=")[2])
            continue
        given.append(argument)
        kept.append(assignment("input", from_home(argument)))
    if len(given) > 1:
        raise ConfigError(f"{given[1]}: one input at a time, besides {given[0]}; a folder may hold many.")
    return kept


def _is_file(argument: str) -> bool:
    """Whether there is such a file, whose name is not also that of a key."""
    try:
        key = argument.partition("=")[0]
        return not key.replace(".", "_").isidentifier() and Path(argument).exists()
    except OSError:  # too long for a name
        return False
