"""Who imports whom? The rooms of the package as a drawing, read from its source."""

import ast
from collections import defaultdict
from html import escape
from pathlib import Path

_WIDE, _TALL, _GAP_X, _GAP_Y = 118, 34, 22, 40


def rooms(package: Path) -> dict[str, set[str]]:
    """By room (a folder or module below the package) the rooms that it imports, wherever the import stands."""
    imported: dict[str, set[str]] = defaultdict(set)
    for path in sorted(package.rglob("*.py")):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        imported[own] |= set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{one.name}" for one in node.names]
            imported[own] |= {name.split(".")[1] for name in names if name.startswith("rankpose.")} - {own}
    return dict(imported)


def without_detours(imported: dict[str, set[str]]) -> dict[str, set[str]]:
    """Only the edges that no way over another room stands for."""

    def reached(room: str) -> set[str]:
        return imported[room].union(*(reached(one) for one in imported[room]))

    return {
        room: {one for one in below if not any(one in reached(other) for other in below - {one})}
        for room, below in imported.items()
    }


def drawing(package: Path) -> str:
    """An SVG: what is below is imported by what is above; commands, which nobody imports, in the top rows."""
    imported = rooms(package)
    shown = without_detours(imported)

    def height(room: str) -> int:
        return 1 + max((height(one) for one in imported[room]), default=-1)

    rows: dict[int, list[str]] = defaultdict(list)
    commands = sorted(room for room in imported if _is_command(package / f"{room}.py"))
    top = 1 + max(height(room) for room in imported if room not in commands)
    for room in sorted(imported):
        rows[top if room in commands else height(room)].append(room)
    widest = 8
    lines = [
        row[i : i + widest]
        for level in sorted(rows, reverse=True)
        for row in [rows[level]]
        for i in range(0, len(row), widest)
    ]
    width = widest * (_WIDE + _GAP_X) + _GAP_X
    places = {}
    for number, line in enumerate(lines):
        left = (width - len(line) * (_WIDE + _GAP_X) + _GAP_X) / 2
        for k, room in enumerate(line):
            places[room] = (left + k * (_WIDE + _GAP_X), _GAP_Y / 2 + number * (_TALL + _GAP_Y))
    parts = []
    for room, below in sorted(shown.items()):
        if room in commands:
            continue
        for one in sorted(below):
            (x0, y0), (x1, y1) = places[room], places[one]
            start, end = (x0 + _WIDE / 2, y0 + _TALL), (x1 + _WIDE / 2, y1)
            bend = (end[1] - start[1]) / 2
            curve = f"M{start[0]:.0f} {start[1]:.0f} C{start[0]:.0f} {start[1] + bend:.0f} "
            curve += f"{end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1]:.0f}"
            parts.append(f'<path d="{curve}"><title>{escape(room)} imports {escape(one)}</title></path>')
    for room, (x, y) in places.items():
        kind = "command" if room in commands else "room"
        parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{_WIDE}" height="{_TALL}" rx="7"/>')
        parts.append(f'<text x="{x + _WIDE / 2:.0f}" y="{y + _TALL / 2 + 5:.0f}">{escape(room)}</text>')
    tall = _GAP_Y / 2 + len(lines) * (_TALL + _GAP_Y)
    opening = f'<svg class="house" viewBox="0 0 {width} {tall:.0f}" role="img" aria-label="rooms and what they import">'
    return f"{opening}{''.join(parts)}</svg>"


def _is_command(path: Path) -> bool:
    return path.is_file() and 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
