"""Are arguments what a signature says? Types, words and ranges are in its hints, pydantic holds values against them.

What is refused is told in one line with the key, the value, and what it must be. Nothing is converted.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from numbers import Integral
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt

from rankpose.errors import ConfigError

C = TypeVar("C", bound=Callable[..., Any])

Count = Annotated[int, Ge(1)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]

_SAID = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a word",
    "none_required": "null",
    "literal_error": "{expected}",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
}
"""What a value must be, by pydantic's name of what is wrong."""
_NUMBERS = (bool, int, float)


def fault(hint: Any, value: Any) -> str | None:
    """What a value must be for a hint of numbers, words and null, such as "at least 1 or null"; None where it is so."""
    from pydantic import ValidationError

    if isinstance(value, Integral) and not isinstance(value, bool):
        value = int(value)  # one of numpy's is as good
    try:
        _adapter(hint).validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        said = [_SAID[one["type"]].format(**one.get("ctx", {})).replace("'", "") for one in found]
        return " or ".join(dict.fromkeys([*said, *["null"] * (types.NoneType in typing.get_args(hint))]))
    return None


def simple(hint: Any, texts: bool = False) -> Any:
    """The part of a hint that can be held against what a file has; None where more is allowed than that part.

    A file holds no object of a class, so a number or an object is a number.

    Args:
        hint: of an argument.
        texts: hold texts and words against it as well; a file may have a number for one, or a word such as
            `auto` that is replaced before it is used.
    """
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    bare = [typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind for kind in kinds]
    known = (*_NUMBERS, types.NoneType, *((str,) if texts else ()))
    wanted = [kind for kind, what in zip(kinds, bare, strict=True) if what in known or _is_literal(what)]
    others = [what for what in bare if what not in known and not _is_literal(what)]
    open_ends = any(not isinstance(what, type) or what in (str, object) or typing.get_args(what) for what in others)
    tells = any(what in _NUMBERS or (texts and (_is_literal(what) or what is str)) for what in bare)
    return None if open_ends or not tells else typing.Union[tuple(wanted)]  # noqa: UP007  # of as many as there are


def checked(where: str = "", **keys: str) -> Callable[[C], C]:
    """Has a function, or what makes the instances of a class, refuse arguments that its hints do not allow.

    Args:
        where: of the arguments' keys, as `data.`.
        keys: of the arguments that have others.

    Raises:
        ConfigError: by the function; opens with the key and the value.
    """

    def decorate(target: C) -> C:
        function = target.__init__ if inspect.isclass(target) else target
        signature = inspect.signature(function)
        hints = functools.cache(lambda: _simple_hints(function))

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                said = fault(hints()[name], value) if name in hints() else None
                if said is not None:
                    raise ConfigError(f"{keys.get(name, where + name)}={value}: must be {said}.")
            return function(*args, **kwargs)

        if not inspect.isclass(target):
            return typing.cast(C, wrapper)
        target.__init__ = wrapper  # type: ignore[method-assign]
        return target

    return decorate


def _simple_hints(function: Callable[..., Any]) -> dict[str, Any]:
    hints = {name: simple(hint, True) for name, hint in typing.get_type_hints(function, include_extras=True).items()}
    return {name: hint for name, hint in hints.items() if hint is not None and name != "return"}


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal


@functools.cache
def _adapter(hint: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
