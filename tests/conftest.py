"""What all tests share: one thread, no network surprises, and which marked tests this machine can run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Before torch, ray or numba are imported anywhere: tests share two cores, and Ray would otherwise write a token file.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pytest
import torch

torch.set_num_threads(1)

_LEFT_OUT = pytest.StashKey[str]()

AVAILABLE = {
    "schemas": Path(
        os.environ.get("RAYLIFT_KUBERAY_SCHEMAS", Path(__file__).parents[2] / "shared" / "schemas")
    ).is_dir(),
    "gpu": torch.cuda.is_available(),
    "browser": bool(shutil.which("chromium") and shutil.which("chromedriver")),
    "node": bool(shutil.which("node") and shutil.which("npm")),
    "download": os.environ.get("RAYLIFT_TEST_DOWNLOADS") == "1",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect (and count) tests whose machinery is not here; a marker named on the command line always runs."""
    asked = config.getoption("markexpr") or ""
    missing = {name for name, there in AVAILABLE.items() if not there and name not in asked}
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in missing)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
        config.stash[_LEFT_OUT] = f"left out {len(left_out)} tests that need: {', '.join(sorted(missing))}"
    _share_out(items)


def _share_out(items: list[pytest.Item]) -> None:
    """Groups for pytest-xdist (``--dist loadgroup``): a file stays together, for its fixtures; whatever starts a Ray is
    one group, since two of them would fight for the cores, and comes first, since it takes longest."""
    with_ray = {item.path for item in items if item.get_closest_marker("ray")}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.path in with_ray else str(item.path)))
    items.sort(key=lambda item: item.path not in with_ray)


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    return config.stash.get(_LEFT_OUT, "")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test that draws without a seed of its own still draws the same every time."""
    torch.manual_seed(0)
