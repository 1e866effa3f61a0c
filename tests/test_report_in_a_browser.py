"""report.html in a browser: nothing is cut off, in either scheme, on a phone and on a desk."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

#: Of a phone and of a desk.
WIDTHS = (390, 1280)

#: Shows a page at each width, which a headless window can't be made narrow enough for, and says how wide it is.
_FRAME = """<iframe src="{page}" width="{width}" height="900" style="border:0"></iframe><p></p>"""
_PROBE = """<!DOCTYPE html><html><body style="margin:0">{frames}<script>
for(const frame of document.querySelectorAll("iframe"))frame.onload=function(){{
var d=this.contentDocument.documentElement,
wide=[...this.contentDocument.querySelectorAll("body *")].filter(function(e){{
return !e.closest(".scroll *") && e.getBoundingClientRect().right>d.clientWidth+1}}).length;
this.nextElementSibling.textContent="inner "+d.clientWidth+" scroll "+d.scrollWidth+" wide "+wide+
" back "+getComputedStyle(this.contentDocument.body).backgroundColor}}</script></body></html>"""


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    if CHROMIUM is None:
        pytest.skip("no Chromium to look at the page with: apt-get install --no-install-recommends chromium")
    return [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
        "--allow-file-access-from-files",
        "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000",
    ]  # fmt: skip


@pytest.mark.tflm
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page(fuel_out: Path, chromium: list[str], tmp_path: Path, scheme: str) -> None:
    probe = tmp_path / "probe.html"
    page = (fuel_out / "report.html").as_uri()
    probe.write_text(_PROBE.format(frames="".join(_FRAME.format(page=page, width=width) for width in WIDTHS)))
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    command = [*chromium, preferred, "--virtual-time-budget=5000", "--dump-dom", probe.as_uri()]
    shown_page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = re.findall(r"inner (\d+) scroll (\d+) wide (\d+) back (rgb\([\d, ]+\))", shown_page.stdout)
    assert said, shown_page.stderr[-2000:]
    back = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]
    assert said == [(str(width), str(width), "0", back) for width in WIDTHS]
    assert "CONSOLE" not in shown_page.stderr


@pytest.mark.tflm
def test_a_browser_makes_a_picture_of_the_page(fuel_out: Path, chromium: list[str], tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    command = [*chromium, f"--screenshot={picture}", (fuel_out / "report.html").as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 10_000
