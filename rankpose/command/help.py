"""What can be asked of a command? Its choices and keys, as the files in `conf/` themselves say.

A file opens with one comment that says what choosing it means, and a key stands below the comment that explains it; the
pages are made of these, so that there is no second list to keep.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

WIDTH = 100
_INDENT = 26


def groups_of(conf: Path, name: str) -> dict[str, str | None]:
    """The groups that a command chooses from, with the default choice of each (None: nothing is chosen)."""
    content = _load(conf / f"{name}.yaml")
    entries = [next(iter(entry.items())) for entry in content["defaults"] if isinstance(entry, dict)]
    own = {group: choice for group, choice in entries if not group.startswith("override ")}
    overridden = {group.removeprefix("override "): choice for group, choice in entries}
    if "sweep" in content.get("hydra", {}):
        for folder in sorted((conf / "hydra").glob("*/")):
            own[f"hydra/{folder.name}"] = overridden.get(f"hydra/{folder.name}")
    return own


def choices(conf: Path, group: str) -> dict[str, str]:
    """The choices of a group, each with what choosing it means."""
    return {path.stem: meaning(path) for path in sorted((conf / group).glob("*.yaml"))}


def meaning(path: Path) -> str:
    """The first comment of a file, which says what choosing it means."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package"))
    return next(lines).removeprefix("#").strip()


def help_page(conf: Path, name: str) -> str:
    """What `--help` says of a command: the text in its file, with its choices and keys.

    Hydra's own way lists all groups of all packages first, which takes seconds.
    """
    template: str = _load(conf / f"{name}.yaml")["hydra"]["help"]["template"]
    for word, page in (("{{choices}}", choice_page), ("{{keys}}", key_page)):
        if word in template:
            template = template.replace(word, page(conf, name))
    return template


def choice_page(conf: Path, name: str) -> str:
    """The groups of a command with all choices, the default ones marked."""
    parts = []
    for group, default in groups_of(conf, name).items():
        found = choices(conf, group)
        if found:
            parts.append(group)
            parts += [_entry(f"{choice} *" if choice == default else choice, text) for choice, text in found.items()]
    return _for_template("\n".join(parts))


def key_page(conf: Path, name: str) -> str:
    """The keys of a command's own file that a comment explains, with their defaults unless these follow from others."""
    lines = [
        _entry(f"{key} (required)" if value == "???" else key if "${" in value else f"{key}={value}", text)
        for key, value, text in keys_of(conf / f"{name}.yaml")
        if text
    ]
    return _for_template("\n".join(lines))


def keys_of(path: Path) -> Iterator[tuple[str, str, str]]:
    """Key, default and comment of every leaf; Hydra's own part and the defaults list aside."""
    comment: list[str] = []
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
            continue
        found = re.fullmatch(r"(\s*)(\w+):\s*(.*)", line)
        if found is not None:
            depth, key, value = len(found[1]), found[2], found[3]
            above = [(indent, one) for indent, one in above if indent < depth]
            if not value:
                above.append((depth, key))
            elif not key.startswith("_") and not {one for _, one in above} & {"hydra", "defaults"}:
                yield ".".join([*(one for _, one in above), key]), value, " ".join(comment)
        comment = []


def _entry(head: str, text: str) -> str:
    """A line of a table, its second column wrapped; a head that is too long gets a line of its own."""
    head = f"  {head}"
    body = textwrap.wrap(text, WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)
    lines = [" " * _INDENT + line for line in body]
    if len(head) < _INDENT - 1 and lines:
        lines[0] = head.ljust(_INDENT) + body[0]
        return "\n".join(lines)
    return "\n".join([head, *lines])


def _for_template(text: str) -> str:
    """Hydra fills a template in; a dollar sign of ours is none of its names."""
    return text.replace("$", "$$")


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
