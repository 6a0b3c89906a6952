"""What mkdocs is told beyond the pages of docs/: pages made of code, conf/ and notebooks, equations, links."""

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
from house import drawing, rooms

from rankpose.command.help import choices, groups_of, keys_of

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMANDS = ("train", "evaluate", "predict", "demo", "prepare", "label", "export", "probe")
"""Commands that take keys of conf/."""
MOVED = {
    r"(?:\.\./)?data/README\.md": "data.md",
    r"(?:\.\./)?CONTRIBUTING\.md": "contributing.md",
    r"(?:\.\./)?CHANGELOG\.md": "changes.md",
    r"\.\./docs/(\w+\.md)": r"\1",
    r"docs/(\w+\.md)": r"\1",
    r"\.\./rankpose/(\w+)/[\w/]*\.py": r"reference/\1.md",
    r"\.\./notebooks/(\w+)\.ipynb": r"notebooks/\1.md",
}
"""Links as they are right in the repository, and as they are right on the site."""
CSS = """
.drawn { overflow-x: auto; }
.house { min-width: 44rem; }
.house path { fill: none; stroke: var(--md-default-fg-color--light); stroke-width: 1.3; }
.house rect { fill: var(--md-code-bg-color); stroke: var(--md-primary-fg-color); stroke-width: 1.5; }
.house rect.command { fill: var(--md-primary-fg-color); }
.house text { font: 14px monospace; text-anchor: middle; fill: var(--md-default-fg-color); }
.house rect.command + text { fill: var(--md-primary-bg-color); }
.equation { overflow: auto hidden; padding: 0.3em 0; margin: 1em 0; font-size: 1.15em; }
.md-typeset table:not([class]) { font-size: 0.68rem; }
.md-typeset td code { word-break: normal; }
.md-typeset td:first-child code { white-space: nowrap; }
.md-grid { max-width: 74rem; }
"""


def on_config(config: Any) -> Any:
    """Adds the pages that are made to the navigation."""
    for entry in config["nav"]:
        if "Reference" in entry:
            entry["Reference"] = [
                "reference/choices.md",
                *(f"reference/{room}.md" for room in sorted(rooms(PROJECT / "rankpose"))),
            ]
        if "Notebooks" in entry:
            entry["Notebooks"] = [f"notebooks/{path.stem}.md" for path in _notebooks()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made."""
    made: dict[str, str | bytes] = {
        "data.md": _text("data/README.md"),
        "contributing.md": _text("CONTRIBUTING.md"),
        "changes.md": _text("CHANGELOG.md"),
        "reference/choices.md": choices_page(PROJECT / "conf"),
        "site.css": CSS,
    }
    made |= {f"reference/{room}.md": room_page(room) for room in rooms(PROJECT / "rankpose")}
    for path in _notebooks():
        page, pictures = notebook_page(path)
        made |= {f"notebooks/{path.stem}.md": page, **pictures}
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Sets links right, draws equations, and puts the drawing of rooms onto its page."""
    up = "../" * page.file.src_uri.count("/")
    for here, there in MOVED.items():
        markdown = re.sub(rf"\]\({here}(?=[)#])", f"]({up}{there}", markdown)
    markdown = re.sub(r"^```math\n(.*?)^```$", _equation, markdown, flags=re.MULTILINE | re.DOTALL)
    if page.file.src_uri == "house.md":
        first, rest = markdown.split("\n\n", 1)
        drawn = drawing(PROJECT / "rankpose")
        said = (
            "Filled: commands. Lines go from a room to those below that it imports; ways that a longer one stands for "
            "are left out."
        )
        markdown = f"{first}\n\n<div class='drawn'>{drawn}</div>\n\n{said}\n\n{rest}"
    return markdown


def choices_page(conf: Path) -> str:
    """Every group, choice and key of `conf/`, as the files themselves say: by the code that `--help` is made with."""
    lines = [
        "# Choices and keys",
        "",
        "`GROUP=CHOICE` takes a file `conf/GROUP/CHOICE.yaml`; `KEY=VALUE` sets a key. Made of those files.",
        "",
    ]
    seen: set[str] = set()
    for command in COMMANDS:
        lines += [f"## rankpose.{command}", "", "| key | default | |", "| --- | --- | --- |"]
        lines += [
            f"| `{key}` | {_code(value)} | {_cell(text)} |" for key, value, text in keys_of(conf / f"{command}.yaml")
        ]
        lines.append("")
        for group, default in groups_of(conf, command).items():
            if group in seen or not choices(conf, group):
                continue
            seen.add(group)
            lines += [f"### {group} {{ #{group.replace('/', '-')} }}", ""]
            for choice, meaning in choices(conf, group).items():
                lines += [f"**`{group}={choice}`**{' (default)' if choice == default else ''}: {_cell(meaning)}", ""]
                keys = [one for one in keys_of(conf / group / f"{choice}.yaml") if one[2]]
                if keys:
                    lines += ["| key | value | |", "| --- | --- | --- |"]
                    lines += [f"| `{key}` | {_code(value)} | {_cell(text)} |" for key, value, text in keys]
                    lines.append("")
    return "\n".join(lines) + "\n"


def room_page(room: str) -> str:
    """The public classes and functions of a room, module by module, from their docstrings."""
    place = PROJECT / "rankpose" / room
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    lines = [f"# rankpose.{room}", ""]
    for path in paths:
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        if path.stat().st_size:
            # what a package only passes on stands where it is defined
            only_imports = not re.search(r"^(class|def) ", path.read_text(encoding="utf-8"), re.MULTILINE)
            passes_on = path.name == "__init__.py" and only_imports
            options = "    options: {members: false}" if passes_on else ""
            lines += [f"## {module}", "", f"::: {module}", options, ""]
    return "\n".join(lines)


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook's text, code and what it shows, and its pictures by their places on the site."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for number, cell in enumerate(cells):
        source = "".join(cell["source"]).rstrip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            kind, content = _shown(output)
            if kind.startswith("image/"):
                name = f"{path.stem}_{number}.{kind.removeprefix('image/')}"
                pictures[f"notebooks/{name}"] = base64.b64decode(content)
                parts.append(f"![what the cell above draws]({name})")
            elif kind == "text/html":  # of pandas, which brings its own style
                plain = re.sub(
                    r"<style.*?</style>\s*|<p>[^<]*</p>| border=\"1\" class=\"dataframe\"", "", content, flags=re.DOTALL
                )
                parts.append(plain.strip())
            elif kind == "text/markdown":
                parts.append(content)
            else:
                parts.append(f"```text\n{content.rstrip()}\n```")
    return "\n\n".join(parts) + f"\n\nThe notebook is `notebooks/{path.name}`.\n", pictures


def _shown(output: dict[str, Any]) -> tuple[str, str]:
    """What kind a cell's output is, the richest that there is, and its content."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    kind = next(one for one in ("image/png", "image/jpeg", "text/markdown", "text/html", "text/plain") if one in data)
    return kind, "".join(data[kind])


def _notebooks() -> list[Path]:
    return sorted((PROJECT / "notebooks").glob("*.ipynb"))


def _text(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def _equation(found: re.Match[str]) -> str:
    return f'<div class="equation">{convert(found[1].strip(), display="block")}</div>'


def _code(value: str) -> str:
    return f"`{_cell(value)}`" if value else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
