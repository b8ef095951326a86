"""The page holds what it is given, needs nothing else, and draws."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.export import viewer
from raylift.export.model_card import render_model_card, write_model_card
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, render_page, write_viewer
from raylift.geometry.cameras import orbit
from tests.export.headless import chromium, wait_for
from tests.export.shapes import colored_sphere, textured_square, two_material_scene


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def unpack(text: str, width: int, columns: int, differences: bool = True) -> np.ndarray:
    """What the page's script does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(width, -1)
    values = np.ascontiguousarray(planes.T).view(f"<u{width}").reshape(-1, columns)
    return np.cumsum(values, axis=0, dtype=values.dtype) if differences else values


def test_geometry_is_packed_to_sixteen_bits() -> None:
    mesh = colored_sphere()
    data = data_of(render_page([ViewerRow("ball", shapes=[ViewerShape("a", mesh)])], "t"))
    (part,) = data["rows"][0]["shapes"][0]["parts"]
    positions = np.asarray(part["low"]) + unpack(part["positions"], 2, 3) / 65535 * part["extent"]
    np.testing.assert_allclose(positions, mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(unpack(part["indices"], 4, 1).reshape(-1, 3), mesh.faces)
    assert mesh.vertex_colors is not None
    np.testing.assert_allclose(unpack(part["colors"], 1, 3) / 255, mesh.vertex_colors, atol=0.003)
    assert part["smooth"]


def test_textures_and_flat_shading_of_scenes() -> None:
    data = data_of(render_page([ViewerRow("chair", shapes=[ViewerShape("truth", two_material_scene())])], "t"))
    cloth, wood = data["rows"][0]["shapes"][0]["parts"]
    assert cloth["texture"].startswith("data:image/jpeg;base64,")
    assert "texture" not in wood
    assert wood["base"] == [0.5, 0.3, 0.1]
    assert not cloth["smooth"]


def test_the_page_needs_nothing_else() -> None:
    page = render_page([ViewerRow("ball", shapes=[ViewerShape("a", colored_sphere())])], "t")
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"\b(fetch|localStorage|sessionStorage|XMLHttpRequest|import)\s*[(.]", page)
    assert not re.search(r"<(link|script)[^>]+(src|href)=", page)


def test_names_cannot_break_out() -> None:
    evil = "</script><script>alert(1)</script>"
    page = render_page([ViewerRow(evil, text=evil)], evil, evil)
    assert evil not in page
    assert data_of(page)["rows"][0]["name"] == evil


def test_a_missing_mesh_says_why() -> None:
    data = data_of(render_page([ViewerRow("x", shapes=[ViewerShape("a", None, problem="no surface")])], "t"))
    assert data["rows"][0]["shapes"][0]["problem"] == "no surface"


@pytest.mark.parametrize("azimuth_deg", [0.0, 35.0, 170.0, -90.0])
def test_views_start_where_the_input_was_seen_from(azimuth_deg: float) -> None:
    view = viewer._orbit_of(orbit(azimuth_deg, 25.0, distance=2.5, fov_deg=40.0))
    assert math.degrees(view["azimuth"]) == pytest.approx(azimuth_deg, abs=1e-3)
    assert math.degrees(view["elevation"]) == pytest.approx(25.0, abs=1e-3)
    assert view["distance"] == pytest.approx(2.5, abs=1e-3)


def test_an_orthographic_input_is_shown_at_its_size() -> None:
    seen = orbit(20.0, 10.0)
    camera = Camera(seen.focal * 0 + 1.25, seen.principal, seen.rotation, seen.translation, "orthographic")
    view = viewer._orbit_of(camera)
    assert math.degrees(view["azimuth"]) == pytest.approx(20.0, abs=1e-3)
    assert view["distance"] == pytest.approx(1 / (1.25 * math.tan(math.radians(20))))


def test_a_page_that_is_too_large_is_thinned_and_says_so(tmp_path: Path) -> None:
    rows = [ViewerRow("ball", shapes=[ViewerShape("a", colored_sphere(6))])]
    whole = write_viewer(rows, tmp_path / "whole.html", "t").stat().st_size
    page = write_viewer(rows, tmp_path / "thin.html", "t", max_bytes=whole // 2)
    assert page.stat().st_size <= whole // 2
    assert re.search(r"81,920 faces, [\d,]+ shown", page.read_text())
    with pytest.raises(DataError, match="fewer objects"):
        write_viewer(rows, tmp_path / "none.html", "t", max_bytes=1000)
    assert not (tmp_path / "none.html").exists()


_LOOK = """
return [...document.querySelectorAll('canvas')].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width);
  let covered = 0;
  for (let i = 3; i < data.length; i += 4) covered += data[i] > 200;
  const middle = 4 * (canvas.width * (canvas.width >> 1) + (canvas.width >> 1));
  return { covered: covered / (data.length / 4), middle: [...data.slice(middle, middle + 3)] };
});
"""


@pytest.mark.browser
def test_it_draws_turns_and_links(tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    image = np.full((32, 32, 4), 128, np.uint8)
    rows = [
        ViewerRow(
            "one",
            [ViewerImage("Input", image)],
            [ViewerShape("ball", colored_sphere(3)), ViewerShape("card", textured_square())],
        ),
        ViewerRow("two", [], [ViewerShape("card", textured_square()), ViewerShape("none", None, problem="no surface")]),
    ]
    page = write_viewer(rows, tmp_path / "v.html", "Viewer")
    with chromium() as browser:
        browser.get(page.as_uri())

        def is_drawn() -> bool:
            return bool(browser.execute_script("return document.documentElement.dataset.drawn") == "3")

        def look() -> list[dict[str, Any]]:
            wait_for(browser, is_drawn)
            found: list[dict[str, Any]] = browser.execute_script(_LOOK)
            return found

        start = look()
        assert start[0]["middle"][0] > 2 * start[0]["middle"][2]
        assert all(canvas["covered"] > 0.1 for canvas in start)
        assert "no surface" in browser.find_element("id", "rows").text
        # From 30 degrees, 60 more show the card from its edge, in the row that is linked and not in the other.
        canvas = browser.find_elements("css selector", "canvas")[0]
        turn = -round(canvas.size["width"] * math.radians(60) / 3.6)
        ActionChains(browser).drag_and_drop_by_offset(canvas, turn, 0).perform()
        wait_for(browser, lambda: look()[1]["covered"] < 0.2 * start[1]["covered"])
        assert look()[2] == start[2]
        browser.find_element("css selector", "#link [data-value=all]").click()
        ActionChains(browser).drag_and_drop_by_offset(canvas, 1, 0).perform()
        wait_for(browser, lambda: look()[2]["covered"] < 0.2 * start[2]["covered"])
        browser.find_element("id", "reset").click()
        wait_for(browser, lambda: look() == start)
        for control in ("#shading [data-value=normals]", "#wireframe", "#theme"):
            browser.find_element("css selector", control).click()
        wait_for(browser, lambda: look()[0]["middle"][2] > 128)  # a normal that faces the viewer has much blue
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_model_cards_hold_their_sections(tmp_path: Path) -> None:
    card = render_model_card(
        "implicit/quick",
        {"seed": 0},
        {"objects": 31, "digest": "ab|c"},
        [{"model": "ours", "occnet/iou": 0.51234}, {"model": "mean shape", "occnet/iou": 0.4}],
        {"minutes": 3.0},
        ["thin legs"],
    )
    assert "| ours | 0.5123 |" in card
    assert "ab\\|c" in card
    assert "* thin legs" in card
    place = write_model_card(tmp_path / "card.md", name="x", recipe={}, data={}, scores=[], training={})
    assert "Not evaluated." in place.read_text()
