"""One real Ray cluster, one S3 server and one tiny data set for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_server import FaultyProxy, s3_behind_a_proxy


@pytest.fixture(scope="session")
def proxy() -> Iterator[FaultyProxy]:
    """An S3 server behind a proxy; started before Ray, whose workers inherit its address."""
    with s3_behind_a_proxy() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def bucket(proxy: FaultyProxy) -> str:
    """``s3://`` URI of an empty bucket on this machine."""
    return proxy.bucket


@pytest.fixture(scope="session")
def cluster(bucket: str) -> Iterator[None]:
    """A Ray of four logical CPUs in processes of this test run alone."""
    import ray

    from raylift.runs.train import start_patiently

    ray.shutdown()  # one that other tests of this process started has no S3 address
    start_patiently(4)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen procedural chairs, prepared in this process."""
    from raylift.data.prepare.ingest import ingest
    from raylift.data.shapes.config import ShapesConfig
    from raylift.data.sources.opening import open_source

    folder = tmp_path_factory.mktemp("chairs")
    config = ShapesConfig(
        num_views=3, image_px=32, samples=500, cloud_points=1000, surface_points=500, iou_points=5000,
        truth_resolution=32, scan_views=20, scan_px=64, objects_per_shard=8, val_share=0.2, test_share=0.1,
    )  # fmt: skip
    ingest([open_source("procedural:16")], str(folder), config, parallel="none")
    return folder
