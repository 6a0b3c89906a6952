"""The page in the browser: what goes in and what comes out, in a real one where there is one."""

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from commands import run
from films import write_film

from rankpose.predictors.load import load

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def web_page():
    """The module; it imports Gradio, which takes seconds."""
    return importlib.import_module("rankpose.answers.web_page")


@pytest.fixture(scope="module")
def estimator():
    return load("rankpose-photographs")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, web_page):
    """The page's own examples: files and true poses."""
    paths = web_page._examples(tmp_path_factory.mktemp("examples"))
    return list(zip(paths, [pose for _, pose in web_page._EXAMPLES], strict=True))


def test_a_picture_gives_the_drawing_the_angles_and_a_head_turned_alike(estimator, rendered, web_page):
    for path, pose in rendered:
        drawn, table, alike = web_page._picture(estimator, path, "axes")
        before = cv2.imread(path)[..., ::-1]
        assert drawn.shape == before.shape
        assert (drawn != before).any()
        ((person, *angles, _error, _score),) = table
        assert person == 1
        assert np.abs(np.array(angles, float) - pose).max() < 15
        assert alike.shape == (192, 192, 3)
        # the drawn head says the same pose as the head that it stands for
        ((_, *again, _error, _score),) = web_page._table(estimator(np.kron(alike, np.ones((2, 2, 1), np.uint8))))
        assert np.abs(np.array(again, float) - np.array(angles, float)).max() < 20


def test_nothing_in_gives_nothing_and_nobody_is_told(estimator, tmp_path, web_page):
    assert web_page._picture(estimator, None, "axes") == (None, None, None)
    assert web_page._frame(estimator, None, "axes") == (None, None)
    empty = np.full((200, 300, 3), 128, np.uint8)
    drawn, table = web_page._frame(estimator, empty, "cube")
    assert np.array_equal(drawn, empty)
    assert table == []
    (tmp_path / "no.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(web_page.gr.Error, match=r"no\.png") as raised:
        web_page._picture(estimator, str(tmp_path / "no.png"), "axes")
    assert str(tmp_path) not in str(raised.value)
    with pytest.raises(web_page.gr.Error, match="Give a film"):
        web_page._film(estimator, tmp_path, None, "axes", True)


@pytest.mark.slow
def test_mistakes_are_a_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("demo", f"port={port}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: host=127.0.0.1, port={port}: cannot be served there")


@pytest.fixture
def served(tmp_path):
    """The address of a page that is served, its process, and the folder of its temporary files."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "rankpose.demo", f"port={port}", "max_mb=1"]
    with (tmp_path / "said.txt").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, cwd=tmp_path)
        try:
            address = None
            while address is None:
                assert process.poll() is None, (tmp_path / "said.txt").read_text(encoding="utf-8")
                time.sleep(0.5)
                address = re.search(r"http://\S+", (tmp_path / "said.txt").read_text(encoding="utf-8"))
            yield address[0], process, tmp_path
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
def test_a_browser_shows_pictures_and_films_with_their_poses(served, rendered, tmp_path):
    from playwright.sync_api import sync_playwright

    address, process, folder = served
    assert address.startswith("http://127.0.0.1:")
    path, pose = rendered[0]
    film = write_film(tmp_path / "film.mp4", [cv2.imread(path)[..., ::-1]] * 5)
    (tmp_path / "large.mp4").write_bytes(bytes(2_000_000))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1_200_000)
        elsewhere = []
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(address)
        page.set_input_files("#picture input[type=file]", path)
        page.wait_for_selector("#drawn img")
        page.wait_for_selector("#alike img")
        page.wait_for_function("document.querySelector('#table').innerText.includes('+')")
        angles = [float(angle) for angle in re.findall(r"[+-]\d+\.\d", page.inner_text("#table"))]
        assert np.abs(np.array(angles) - pose).max() < 15
        page.get_by_role("tab", name="Film").click()
        page.set_input_files("#film input[type=file]", str(tmp_path / "large.mp4"))
        page.wait_for_selector("text=/maximum allowed size|exceed/i")
        page.set_input_files("#film input[type=file]", str(film))
        page.wait_for_selector("#film video")
        page.click("#go")
        page.wait_for_selector("#drawn_film video")
        assert "5 frames, 1 person" in page.inner_text("#summary")
        browser.close()
    asked = {url for url in elsewhere if not url.startswith((address, "data:", "blob:", "ws://127.0.0.1"))}
    assert not asked, "the page asks nobody but the machine that serves it"
    assert list(folder.glob("rankpose_demo_*"))
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=1200)
    assert not list(folder.glob("rankpose_demo_*")), "nothing is kept"
