"""Runs notebooks and keeps in them what they show: `python docs/site/notebooks.py [NOTEBOOK ...]`

Each begins in an empty folder, so that what it shows does not hang on what a user has there. What is kept is small, for
GitHub and the site to show: photographs as JPEG, no warnings, no times; with a digest of the code that it came from.
"""

import argparse
import base64
import hashlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
_SMALL = 50_000
"""Bytes of a PNG that stays one: curves and bars, which JPEG would blur."""


_PROGRESS = re.compile(r"\dit/s|s/it|\?it/s")


def digest(notebook: Any) -> str:
    """Of all code."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def executed(path: Path, folder: Path) -> Any:
    """A notebook with what it shows when it is run in a folder, as it is kept."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=2400, record_timing=False, resources={"metadata": {"path": str(folder)}})
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = kept(cell.outputs)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["shows"] = digest(notebook)
    return notebook


def shown(notebook: Any) -> list[list[str]]:
    """What kinds of output each cell has; pictures are `picture`, however they are kept."""
    kinds = (
        [kind for one in cell.get("outputs", []) for kind in one.get("data", {one.output_type: None})]
        for cell in notebook.cells
    )
    return [sorted("picture" if kind.startswith("image/") else kind for kind in found) for found in kinds]


def kept(outputs: list[Any]) -> list[Any]:
    """Outputs without warnings and progress, what is printed in one piece, and without names of temporary folders."""
    found: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if output.output_type != "stream":
            found.append(_small(output))
        elif found and found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    for output in found:
        if output.output_type == "stream":
            lines = re.split(r"[\r\n]|\x1b\[A", re.sub(rf"{tempfile.gettempdir()}/tmp\w+", "WORK", output.text))
            output.text = "".join(f"{line}\n" for line in lines if line.strip() and not _PROGRESS.search(line))
    return [one for one in found if one.get("text") != ""]


def _small(output: Any) -> Any:
    picture = base64.b64decode(output.get("data", {}).get("image/png", ""))
    if len(picture) > _SMALL:
        written = io.BytesIO()
        Image.open(io.BytesIO(picture)).convert("RGB").save(written, "JPEG", quality=85, optimize=True)
        del output.data["image/png"]
        output.data["image/jpeg"] = base64.b64encode(written.getvalue()).decode()
        output.metadata.pop("image/png", None)
    return output


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all of notebooks/ by default")
    for path in parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
