"""The comparison's page needs nothing else, shows what it is given, and answers the pointer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from raylift.export.comparison import (
    Chart,
    ChartLine,
    ComparisonPage,
    Table,
    TableCell,
    render_comparison,
    thin_points,
    write_comparison,
)
from raylift.export.viewer import ViewerRow, ViewerShape
from tests.export.headless import chromium, wait_for
from tests.export.shapes import colored_sphere, textured_square
from tests.export.test_viewer import data_of


def page_of() -> ComparisonPage:
    steps = np.arange(0, 1001, 10)
    lines = [
        ChartLine(name, run, [(int(step), float(np.exp(-step / size) + 0.01)) for step in steps])
        for run, (name, size) in enumerate((("few points", 200.0), ("many points", 400.0)))
    ]
    scores = Table(
        "Scores on test",
        ["metric", "few points", "many points", "better than few points by"],
        [
            [TableCell("ifnet/iou ↑"), TableCell("0.412 [0.350, 0.470]"), TableCell("0.468 [0.401, 0.530]"),
             TableCell("+0.056 [+0.021, +0.093]", "better", "confirmed, over 8 objects")],
            [TableCell("occnet/chamfer_l1 x10 ↓"), TableCell("0.32"), TableCell("0.31"), TableCell("+0.01", "unsure")],
        ],
        "Paired object by object.",
        [-1, 0, 1, 1],
    )  # fmt: skip
    return ComparisonPage(
        "Runs compared",
        "few points · many points",
        ["Trained on different data: few points: d1, many points: d2."],
        ["few points", "many points"],
        [scores],
        [Chart("loss/total", lines)],
        [ViewerRow("chair_1", shapes=[ViewerShape("few points", colored_sphere(3)),
                                      ViewerShape("many points", textured_square())])],
    )  # fmt: skip


def test_the_page_needs_nothing_else() -> None:
    page = render_comparison(page_of())
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"\b(fetch|localStorage|sessionStorage|XMLHttpRequest|import)\s*[(.]", page)
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=", page)
    assert "+0.056 [+0.021, +0.093]" in page
    assert 'title="confirmed, over 8 objects"' in page


def test_names_cannot_break_out() -> None:
    evil = '</script><script>alert(1)</script>"><b>'
    table = Table(evil, [evil], [[TableCell(evil, "", evil)]], evil)
    page = render_comparison(ComparisonPage(evil, evil, [evil], [evil], [table], [Chart(evil, [])]))
    assert evil not in page
    assert data_of(page)["charts"][0]["title"] == evil


def test_what_there_is_none_of_is_hidden() -> None:
    page = render_comparison(ComparisonPage("t", "s"))
    for name in ('class="notes" hidden', 'id="curves" hidden', 'id="meshes" hidden'):
        assert name in page


def test_long_curves_are_thinned_to_their_ends() -> None:
    points = [(step, float(step)) for step in range(10_001)]
    thin = thin_points(points, 50)
    assert (len(thin), thin[0], thin[-1]) == (50, points[0], points[-1])
    assert thin_points([(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 2.0)]) == [(0, 1.0), (3, 2.0)]


@pytest.mark.browser
def test_curves_answer_the_pointer_and_meshes_turn_together(tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    page = write_comparison(page_of(), tmp_path / "compare.html")
    with chromium() as browser:
        browser.get(page.as_uri())
        wait_for(browser, lambda: browser.execute_script("return document.documentElement.dataset.charts") == "1")
        paths = browser.find_elements("css selector", ".chart path")
        assert len(paths) == 2
        chart = browser.find_element("css selector", ".chart svg")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
        ActionChains(browser).move_to_element(chart).perform()
        tip = browser.find_element("css selector", ".tip").text
        step = int(re.search(r"step (\d+)", tip).group(1))  # type: ignore[union-attr]
        assert 400 <= step <= 600
        assert f"few points: {np.exp(-step / 200) + 0.01:.4g}" in tip
        before = paths[0].get_attribute("d")
        browser.find_element("id", "logarithmic").click()
        assert browser.find_elements("css selector", ".chart path")[0].get_attribute("d") != before
        canvas = browser.find_elements("css selector", "canvas")
        assert len(canvas) == 2
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas[0])
        wait_for(browser, lambda: browser.execute_script("return document.documentElement.dataset.drawn") == "2")
        look = "const c = arguments[0]; return c.toDataURL()"
        start = [browser.execute_script(look, each) for each in canvas]
        ActionChains(browser).drag_and_drop_by_offset(canvas[0], 60, 0).perform()
        wait_for(browser, lambda: all(browser.execute_script(look, each) != was
                                      for each, was in zip(canvas, start, strict=True)))  # fmt: skip
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
