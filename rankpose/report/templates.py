"""How do values become a page or a table? The templates of this folder (`*.jinja`), filled in.

A page's texts are escaped for HTML, a TeX table's for TeX. Templates of TeX say `<<value>>` and `<%if%>`: braces are
TeX's own.
"""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEX = (
    {
        "\\": "\\textbackslash{}",
        "°": "\\ensuremath{^\\circ}",
        "±": "\\ensuremath{\\pm}",
        "\N{MINUS SIGN}": "\\ensuremath{-}",
    }
    | {"\N{EN DASH}": "--", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "≤": "\\ensuremath{\\le}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


def tex(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_TEX.get(letter, letter) for letter in text)


def render(template: str, **values: Any) -> str:
    """A template of this folder, by its file name, with its values; one that it misses raises `UndefinedError`."""
    return environment_of(template.split(".")[1]).get_template(template).render(**values)


@lru_cache
def environment_of(kind: str) -> Environment:
    """Jinja, as templates of this kind want it: `html`, `tex`, `md` or `txt`."""
    ends = {"variable": ("<<", ">>"), "block": ("<%", "%>"), "comment": ("<#", "#>")} if kind == "tex" else {}
    marks: dict[str, Any] = {f"{name}_start_string": pair[0] for name, pair in ends.items()}
    marks |= {f"{name}_end_string": pair[1] for name, pair in ends.items()}
    environment = Environment(
        loader=PackageLoader("rankpose.report", "."),
        autoescape=kind == "html",
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        **marks,
    )
    environment.filters["tex"] = tex
    return environment
