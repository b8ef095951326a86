"""Prometheus' files and the Grafana board: Prometheus accepts them, and Ray exports what they show."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MONITORING = Path(__file__).parents[2] / "infra" / "monitoring"
BOARD = json.loads((MONITORING / "grafana" / "dashboards" / "raylift.json").read_text())


@lru_cache
def _metrics_of_ray() -> set[str]:
    """Names of metrics in the panels that Ray itself ships."""
    import ray.dashboard.modules.metrics.dashboards as panels

    sources = [path.read_text() for path in Path(panels.__path__[0]).glob("*_panels.py")]
    return {name for source in sources for name in re.findall(r"\bray_\w+(?=\{)", source)}


def _metrics(expression: str) -> set[str]:
    labels = re.findall(r"by \(([^)]*)\)", expression)
    names = set(re.findall(r"\bray_\w+", re.sub(r"by \([^)]*\)", "", expression)))
    assert labels or names
    return names


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_ray_exports_what_the_board_shows() -> None:
    targets = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 10
    for expression in targets:
        assert _metrics(expression) <= _metrics_of_ray(), expression


def test_ray_exports_what_the_alerts_watch() -> None:
    assert _alerts()
    for rule in _alerts():
        assert _metrics(rule["expr"]) <= _metrics_of_ray(), rule["alert"]
        assert rule["annotations"]["summary"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        xs, ys = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in xs for y in ys}
        assert max(xs) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_board_asks_the_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    uids = {source["uid"] for source in sources["datasources"]}
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"] if panel["type"] != "row"} <= uids
    (provider,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/raylift.yaml").read_text())["providers"]
    volumes = yaml.safe_load((MONITORING / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes


@pytest.mark.parametrize("name", ["prometheus.yaml", "kubernetes.yaml"])
def test_scrape_configurations(name: str) -> None:
    document = yaml.safe_load((MONITORING / name).read_text())
    assert set(document) == {"global", "rule_files", "scrape_configs"}
    assert all((MONITORING / file).is_file() for file in document["rule_files"])
    known = {"job_name", "file_sd_configs", "kubernetes_sd_configs", "relabel_configs"}
    assert all(set(job) <= known for job in document["scrape_configs"])


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_accepts_its_files() -> None:
    for command in (["check", "config", "prometheus.yaml"], ["check", "rules", "alerts.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
