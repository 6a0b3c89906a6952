"""How does a key of `rankpose.evaluate` take several values at once, without being a sweep?"""

from collections.abc import Sequence

from rankpose.command.configuration import texts_of
from rankpose.errors import ConfigError
from rankpose.run.keys import assignment, quoted

SEVERAL = ("checkpoint", "predictor", "protocol", "name")
"""Keys that take more than one value, separated by commas."""


def with_several(arguments: Sequence[str]) -> list[str]:
    """The command line with one value of each key that may have several, which Hydra would take for a sweep.

    All of them are in the key `several`, which no file has.

    Raises:
        ConfigError: a key without a value, a value twice, or `-m`.
    """
    kept = []
    for argument in arguments:
        if argument in ("-m", "--multirun"):
            raise ConfigError(
                f"{argument}: {', '.join(SEVERAL)} take several values without it, into one report; leave it out."
            )
        key, equals, _ = argument.partition("=")
        if equals and key in SEVERAL:
            given = texts_of(argument)
            if not given:
                raise ConfigError(f"{argument}: names nothing.")
            twice = next((part for part in given if given.count(part) > 1), None)
            if twice is not None:
                raise ConfigError(f"{argument}: names {twice} twice.")
            kept += [assignment(key, given[0]), f"++several.{key}=[{','.join(map(quoted, given))}]"]
        else:
            kept.append(argument)
    return kept
