"""The site builds without network, strictly, and shows what the code and conf/ have."""

import json
import os
import re
import subprocess
import sys

import pytest
from commands import PROJECT
from PIL import Image

from rankpose.command.help import choices, keys_of


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    # no proxy answers there: whatever asks the network fails
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    env = os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_it_builds_strictly_and_fetches_nothing(site):
    pages = {page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    for name, page in pages.items():
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?https?://', page), name
        assert "```" not in re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL), name
    assert pages["method.html"].count("<math") == 6
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    for word in ("gradient_ratio", "rank_loss", "biwi_fsanet"):
        assert any(word in entry["text"] or word in entry["title"] for entry in found), word


@pytest.mark.slow
def test_notebooks_have_pages_with_their_pictures(site):
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        pictures = re.findall(r'<img alt="[^"]+" src="([^"]+)"', page)
        assert len(pictures) == 3
        for name in pictures:
            with Image.open(site / "notebooks" / name) as picture:
                assert picture.width > 300


@pytest.mark.slow
def test_every_choice_and_key_is_in_the_reference(site):
    page = (site / "reference" / "choices.html").read_text(encoding="utf-8")
    for key, _, text in keys_of(PROJECT / "conf" / "train.yaml"):
        assert not text or f"<code>{key}</code>" in page, key
    for group in ("loss", "representation", "data", "protocol", "predictor", "detector"):
        for choice in choices(PROJECT / "conf", group):
            assert f"{group}={choice}" in page


@pytest.mark.slow
def test_the_drawing_has_every_room_and_the_reference_a_page_of_each(site):
    drawn = (site / "house.html").read_text(encoding="utf-8")
    for place in sorted((PROJECT / "rankpose").iterdir()):
        name = place.stem
        if not name.startswith("_") and (place.suffix == ".py" or (place / "__init__.py").is_file()):
            assert f">{name}</text>" in drawn
            assert (site / "reference" / f"{name}.html").is_file()
    assert "rankpose.losses.ranking.RankMSE" in (site / "reference" / "losses.html").read_text(encoding="utf-8")
