"""How does a key take several values at once, `KEY=A,B` or `KEY=[A,B]`, without being a sweep?"""

from collections.abc import Sequence

from rankpose.command.configuration import texts_of
from rankpose.errors import ConfigError
from rankpose.run.keys import assignment, quoted

SEVERAL = ("checkpoint", "predictor", "protocol", "name")
"""Keys of `rankpose.evaluate` that take more than one value."""
OF_PREDICTORS = ("table", "description")
"""Keys of a predictor that take more than one value, each of which is a model: `predictor.table=A,B`."""
LISTS = ("protocols", "teacher")
"""Keys of `rankpose.train` and `rankpose.label` that are lists."""
_ALSO = {"protocols": "protocol"}
"""What `rankpose.train` calls it."""
_SWEEP = ("-m", "--multirun")


def with_several(arguments: Sequence[str]) -> list[str]:
    """The command line with one value of each key that may have several, which Hydra would take for a sweep.

    All of them are in the key `several`, which no file has; so are the values of a key of a predictor where there are
    several of either, since the first predictor need not have that key.

    Raises:
        ConfigError: a key without a value, a value twice, or `-m`.
    """
    kept, of_predictors, models = [], [], 1
    for argument in arguments:
        if argument in _SWEEP:
            raise ConfigError(
                f"{argument}: {', '.join(SEVERAL)} take several values without it, into one report; leave it out."
            )
        key, equals, _ = argument.partition("=")
        key = _ALSO.get(key, key)
        if equals and key in SEVERAL:
            given = _texts(argument)
            if not given:
                raise ConfigError(f"{argument}: names nothing.")
            kept += [assignment(key, given[0]), f"++several.{key}={_list(given)}"]
            models = len(given) if key == "predictor" else models
        elif equals and key in {f"predictor.{one}" for one in OF_PREDICTORS} and "{" not in argument:
            of_predictors.append(argument)
        else:
            kept.append(argument)
    for argument in of_predictors:
        given = _texts(argument)
        key = argument.partition("=")[0].removeprefix("predictor.")
        if models > 1 or len(given) > 1:
            kept.append(f"++several.{key}={_list(given)}")
        else:
            kept.append(argument)
    return kept


def with_lists(arguments: Sequence[str]) -> list[str]:
    """The command line with `protocols=A,B`, which Hydra would take for a sweep, as the list that the key is.

    In a sweep it is one: of runs with a protocol each.

    Raises:
        ConfigError: a value twice.
    """
    swept = any(argument in _SWEEP for argument in arguments)
    kept = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in LISTS and "[" not in value:
            given = _texts(argument)
            argument = f"{key}={','.join(_list([text]) for text in given) if swept and given else _list(given)}"
        kept.append(argument)
    return kept


def _texts(argument: str) -> list[str]:
    given = texts_of(argument)
    twice = next((part for part in given if given.count(part) > 1), None)
    if twice is not None:
        raise ConfigError(f"{argument}: names {twice} twice.")
    return given


def _list(texts: Sequence[str]) -> str:
    return f"[{','.join(map(quoted, texts))}]"
