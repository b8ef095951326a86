"""The viewer draws inside MLflow's page, in its sandboxed frame, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from raylift.export.viewer import ViewerRow, ViewerShape, write_viewer
from raylift.tracking.mlflow_tracker import MlflowTracker
from tests.export.headless import chromium, wait_for
from tests.export.shapes import colored_sphere


@pytest.mark.server
@pytest.mark.browser
def test_the_viewer_draws_inside_mlflows_page(tmp_path: Path, server: str) -> None:
    page = write_viewer(
        [ViewerRow("ball", shapes=[ViewerShape("red", colored_sphere())])], tmp_path / "v.html", "Balls"
    )
    tracker = MlflowTracker(server, "viewers", "a run", tmp_path / "spool", system_metrics_every_s=0)
    tracker.log_artifact(page, "meshes")
    tracker.finish()
    run_id = tracker.run_id
    assert run_id is not None
    experiment = MlflowClient(server).get_run(run_id).info.experiment_id
    with chromium() as browser:
        browser.get(f"{server}/#/experiments/{experiment}/runs/{run_id}/artifacts/meshes/v.html")
        frame = wait_for(browser, lambda: (browser.find_elements("tag name", "iframe") or [None])[0])
        assert "allow-same-origin" not in (frame.get_attribute("sandbox") or "")
        browser.switch_to.frame(frame)
        wait_for(browser, lambda: browser.execute_script("return document.documentElement.dataset.drawn") == "1")
        middle = browser.execute_script(
            "const c = document.querySelector('canvas'); const s = c.width / 2;"
            "return [...c.getContext('2d').getImageData(s, s, 1, 1).data]"
        )
    assert middle[0] > 2 * middle[2]
    assert middle[3] == 255
