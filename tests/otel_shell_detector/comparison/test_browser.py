"""The page in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from otel_shell_detector.cli import main
from tests.otel_shell_detector.comparison import png

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

CAPTURE = Path(__file__).parents[2] / "captures" / "worker-1.pb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Of the page's style: background, detector's events, the search's runs.
LIGHT = ((0xFF, 0xFF, 0xFF), (0x0A, 0x7D, 0x4B), (0xB4, 0x54, 0x0A))
DARK = ((0x14, 0x18, 0x1D), (0x3F, 0xC9, 0x8A), (0xF0, 0x99, 0x4A))


class Browser:
    """A browser without a window, and without a way to any host."""

    def __init__(self, program: str, folder: Path) -> None:
        self._command = [
            program,
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        self._folder = folder

    def run(self, page: Path, *options: str) -> str:
        command = [*self._command, *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    def screenshot(self, page: Path, scheme: int) -> png.Picture:
        target = self._folder / f"{scheme}.png"
        options = (f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1200,1500")
        self.run(page, *options, f"--screenshot={target}")
        return png.read(target.read_bytes())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium is installed")
    assert program is not None, f"none of {', '.join(BROWSERS)} is installed"
    return Browser(program, tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["compare", "--html", str(target), str(CAPTURE)]) == 0
    return target


def test_the_document_has_ten_shells_in_picture_and_table(browser: Browser, page: Path) -> None:
    document = browser.run(page, "--dump-dom")
    counts = {
        part: document.count(part)
        for part in ('<g class="shell">', '<tr class="shell">', '<tr class="neither">')
    }
    assert counts == {'<g class="shell">': 10, '<tr class="shell">': 10, '<tr class="neither">': 1}


@pytest.mark.parametrize(("scheme", "colours"), [(1, LIGHT), (0, DARK)])
def test_the_picture_shows_ten_lines_in_light_and_dark(
    browser: Browser, page: Path, scheme: int, colours: tuple[png.Colour, png.Colour, png.Colour]
) -> None:
    background, detector, search = colours
    shown = browser.screenshot(page, scheme)
    assert (shown.width, shown.height) == (1200, 1500)
    assert shown.rows[2][:3] == bytes(background)
    assert len(shown.colours()) > 50
    *events, key_of_events = shown.bands(detector)
    *runs, key_of_runs = shown.bands(search)
    # Ten lines, the two marks of each at one height, evenly apart; below them the key.
    assert len(events) == len(runs) == 10
    centres = [sum(band) / 2 for band in events]
    assert centres == pytest.approx([sum(band) / 2 for band in runs], abs=1.5)
    gaps = [below - above for above, below in pairwise(centres)]
    assert gaps == pytest.approx([gaps[0]] * 9, abs=1.5)
    assert min(key_of_events[0], key_of_runs[0]) > centres[-1] + gaps[0] / 2
