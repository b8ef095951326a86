"""The viewer in a notebook's cell draws, in a real browser: a frame without rights inside another page."""

from __future__ import annotations

from pathlib import Path

import pytest

from raylift.api.notebook import viewer_frame
from raylift.export.viewer import ViewerRow, ViewerShape
from tests.export.headless import chromium, wait_for
from tests.export.shapes import colored_sphere

_COVERED = """
const canvas = document.querySelector('canvas');
if (!canvas) return 0;
const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width);
let covered = 0;
for (let i = 3; i < data.length; i += 4) covered += data[i] > 200;
return covered / (data.length / 4);
"""


@pytest.mark.browser
def test_the_mesh_is_drawn_in_its_frame(tmp_path: Path) -> None:
    frame = viewer_frame([ViewerRow('a "ball" <b>', [], [ViewerShape("ball", colored_sphere(3))])], "Balls & more")
    page = tmp_path / "cell.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><p>before</p>{frame}<p id=after>after</p>")
    with chromium() as browser:
        browser.get(page.as_uri())
        assert browser.find_element("id", "after").text == "after", "the frame ends where it should"
        browser.switch_to.frame(browser.find_element("css selector", "iframe"))
        assert wait_for(browser, lambda: browser.execute_script(_COVERED) > 0.05)
        assert 'a "ball" <b>' in browser.find_element("css selector", "body").text
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
