"""How do values become a page? The templates of this folder (`*.jinja`), filled in with every text escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """A template of this folder, by its file name, with its values; one that it misses raises `UndefinedError`."""
    environment = Environment(
        loader=PackageLoader("rankpose.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
