"""A tiny prepared data set that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten procedural chairs; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("prepared") / "chairs"
    ingest([ProceduralSource(10, seed=3)], str(folder), TINY, parallel="none")
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> ShardedDataset:
    return ShardedDataset.open(tiny_folder)
