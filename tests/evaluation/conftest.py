"""A small prepared data set of procedural chairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset

SMALL = ShapesConfig(
    num_views=4,
    image_px=48,
    samples=500,
    cloud_points=3000,
    surface_points=5000,
    iou_points=4000,
    truth_resolution=40,
    scan_views=30,
    scan_px=96,
)


@pytest.fixture(scope="session")
def chairs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Three chairs to train on, two to test on."""
    folder: Path = tmp_path_factory.mktemp("chairs")
    splits = {f"procedural/0-{index:05d}": "train" if index < 3 else "test" for index in range(5)}
    ingest([open_source("procedural:5")], str(folder), SMALL, listed_splits=splits, parallel="none")
    return ShardedDataset.open(folder)


@pytest.fixture(scope="session", autouse=True)
def _offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No weights; for the whole session, since reports outlive a test."""
    folder = tmp_path_factory.mktemp("nowhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYLIFT_WEIGHTS", str(folder))
        patch.setenv("TORCH_HOME", str(folder))
        yield
