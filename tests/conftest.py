"""What all tests share: one thread, no network surprises, and which marked tests this machine can run."""

from __future__ import annotations

import os
import secrets
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

# Before torch, ray or numba are imported anywhere: tests share two cores, and Ray would otherwise write a token file.
# Processes that tests start inherit the token, and so reach the Ray of this test run, as nobody else does.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

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
    "cluster": os.environ.get("RAYLIFT_TEST_CLUSTERS") == "1",
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
    # What takes longest comes first, so that the other processes have something to do meanwhile.
    items.sort(key=lambda item: not _starts_ray(str(item.path)))


@lru_cache
def _starts_ray(path: str) -> bool:
    return "pytest.mark.ray" in Path(path).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process, for their fixtures, and all files that start a Ray in the same one, since two
    Rays would fight for the cores. (pytest-xdist's own groups need a node id that pytest has changed.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if _starts_ray(str(config.rootpath / file)) else file

    return ByFile(config, log)


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    return config.stash.get(_LEFT_OUT, "")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A test that draws without a seed of its own still draws the same every time."""
    torch.manual_seed(0)
