"""The stream through Ray Data, shards in an object store, ingest by Ray, and the jobs as a user runs them."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from PIL import Image
from rich.console import Console

from raylift.config.data import DataConfig
from raylift.core.errors import DataError, RayliftError, StorageError
from raylift.core.storage import Storage
from raylift.core.types import CropRequest, SampleRequest, VoxelRequest
from raylift.data import inspection
from raylift.data.feed import pipeline
from raylift.data.feed.pipeline import ray_batches
from raylift.data.feed.stream import SampleStream
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.shapes.statistics import object_statistics
from raylift.data.sources import furniture
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.opening import open_source
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset
from tests.data.image_layouts import write_cutouts
from tests.scripts import load_job

ROOT = Path(__file__).parents[2]
SMALL = replace(TINY, num_views=2, samples=200, iou_points=300, surface_points=200, objects_per_shard=2)
REQUEST = SampleRequest(24, 64, VoxelRequest("visible", num_points=200))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray that is up already (another folder's) is used and left alone."""
    started = not ray.is_initialized()
    if started:
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    if started:
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize(("rank", "world", "loaders", "window"), [(0, 1, 1, None), (1, 2, 2, 1)])
def test_ray_feeds_the_same_batches(
    cluster: None, tiny: ShardedDataset, rank: int, world: int, loaders: int, window: int | None
) -> None:
    stream = SampleStream(tiny, REQUEST, DataConfig(batch_size=5, shuffle_window=window), seed=2)
    here = list(stream.batches(rank, world, 3, 14))
    fed = list(ray_batches(stream, rank, world, 3, 14, num_loaders=loaders))
    assert [batch.ids for batch in fed] == [batch.ids for batch in here]
    for one, other in zip(fed, here, strict=True):
        assert one.fields.keys() == other.fields.keys()
        assert torch.equal(one.keys, other.keys)
        assert all(torch.equal(one[name], other[name]) for name in one.fields)
        assert one.camera is not None
        assert other.camera is not None
        assert torch.equal(one.camera.rotation, other.camera.rotation)
    assert list(ray_batches(stream, rank, world, 3, 3)) == []


class _Deadly:
    """A stream whose sample 31 kills the loader's process the first time."""

    def __init__(self, stream: SampleStream, folder: Path) -> None:
        self.stream, self.folder = stream, folder

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.stream, name)

    def sample(self, index: int) -> object:
        (self.folder / f"by-{os.getpid()}").touch()
        if index == 31 and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.stream.sample(index)


@pytest.mark.ray
def test_a_loader_that_dies_is_replaced_without_a_trace(cluster: None, tiny: ShardedDataset, tmp_path: Path) -> None:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    stream = SampleStream(tiny, SampleRequest(16), DataConfig(batch_size=2, shuffle_window=1), seed=2)
    try:
        fed = list(ray_batches(_Deadly(stream, tmp_path), 0, 1, 0, 28, num_loaders=2))  # type: ignore[arg-type]
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    here = list(stream.batches(0, 1, 0, 28))
    assert (tmp_path / "died").exists()
    assert len(list(tmp_path.glob("by-*"))) >= 3  # two loaders, and the one that came in place of the dead one
    assert [batch.ids for batch in fed] == [batch.ids for batch in here]
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(fed, here, strict=True))
    shown = Counter(name.split("#")[0] for batch in fed for name in batch.ids)
    assert sum(shown.values()) == 56
    whole, rest = divmod(56, stream.num_objects)
    assert set(shown.values()) <= {whole, whole + 1}
    assert sum(count > whole for count in shown.values()) == rest


def test_a_long_run_is_a_chain_of_pipelines_that_each_start_at_once() -> None:
    tables = list(pipeline.pipelines(3, 40_001))
    assert max(len(table) for table in tables) <= 4096
    spans = [(row["first_step"], row["stop_step"]) for table in tables for row in table.to_pylist()]
    assert [step for first, stop in spans for step in range(first, stop)] == list(range(3, 40_001))
    # The first one is made without the others.
    first = next(pipeline.pipelines(0, 10**12))
    assert len(first) == 4096
    assert list(pipeline.pipelines(5, 5)) == []


@pytest.mark.ray
def test_ray_makes_the_same_shards(cluster: None, tmp_path: Path) -> None:
    sources = [ProceduralSource(5, seed=5)]
    seen: list[tuple[int, int]] = []
    by_ray = ingest(sources, str(tmp_path / "ray"), SMALL, progress=lambda done, total: seen.append((done, total)))
    here = ingest(sources, str(tmp_path / "here"), SMALL, parallel="none")
    assert by_ray.manifest == here.manifest
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)


@pytest.mark.ray
def test_ray_prepares_and_feeds_an_image_collection(cluster: None, tmp_path: Path) -> None:
    source, config = open_source(f"cutouts:{write_cutouts(tmp_path / 'photos')}"), ImagesConfig(image_px=32)
    by_ray = ingest([source], str(tmp_path / "ray"), config)
    here = ingest([source], str(tmp_path / "here"), config, parallel="none")
    assert by_ray.manifest == here.manifest
    request = SampleRequest(24, crop=CropRequest(), mask_distance=True, image_index=True)
    stream = SampleStream(ShardedDataset.open(tmp_path / "ray"), request, DataConfig(batch_size=3), seed=2)
    for fed, made in zip(ray_batches(stream, 0, 1, 1, 4), stream.batches(0, 1, 1, 4), strict=True):
        assert fed.ids == made.ids
        assert fed.camera is None
        assert fed.fields.keys() == made.fields.keys()
        assert all(torch.equal(fed[name], made[name]) for name in made.fields)
        assert fed["image_index"].dtype == torch.int64


@pytest.mark.ray
def test_a_shard_that_cannot_be_written_ends_ray_ingest_with_its_own_words(cluster: None, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    # A folder stands where the shard should go.
    (tmp_path / "out" / "objects-00000.parquet").mkdir()
    with pytest.raises(StorageError, match=r"objects-00000\.parquet cannot be written"):
        ingest([ProceduralSource(1, seed=5)], str(tmp_path / "out"), SMALL)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A real S3 server on the loopback; an s3:// prefix in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    values = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(endpoint, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        import boto3

        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="raylift-test")
        yield "s3://raylift-test/sets/chairs"
    finally:
        server.terminate()
        server.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@pytest.mark.server
def test_a_data_set_in_an_object_store(bucket: str, tmp_path: Path) -> None:
    sources = [ProceduralSource(3, seed=5)]
    remote = ingest(sources, bucket, SMALL, parallel="none")
    local = ingest(sources, str(tmp_path), SMALL, parallel="none")
    assert remote.manifest == local.manifest
    dataset = ShardedDataset.open(bucket)
    assert dataset.verify() == []
    config = DataConfig(batch_size=2)
    near = SampleStream(ShardedDataset.open(tmp_path), REQUEST, config, 0, "train").batches(0, 1, 0, 2)
    far = SampleStream(dataset, REQUEST, config, 0, "train").batches(0, 1, 0, 2)
    for one, other in zip(near, far, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one.fields)
    assert ingest(sources, bucket, SMALL, parallel="none").num_made_shards == 0
    with pytest.raises(DataError, match=r"no manifest\.json"):
        ShardedDataset.open("s3://raylift-test/elsewhere")


def test_storage_refuses_unknown_places() -> None:
    with pytest.raises(StorageError, match="cannot be reached"):
        ShardedDataset.open("nowhere://x/y")


def test_writes_are_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage.at(tmp_path)
    storage.write("a.json", b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="no room left"):
        storage.write("a.json", b"new")
    assert storage.read("a.json") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


# --- inspection, fetching, jobs -------------------------------------------------------------------------------------


def test_statistics_and_contact_sheet(tiny: ShardedDataset) -> None:
    entries = tiny.entries()
    for one in (object_statistics(tiny, entry) for entry in entries[:3]):
        assert one.problems == ()
        assert 0.02 < one.coverage < 0.6
        assert 0.001 < one.volume < 0.5
    odd = replace(object_statistics(tiny, entries[0]), coverage=0.0, volume=0.0, longest_edge=0.5, cloud_gap=0.3)
    assert len(odd.problems) == 4
    sheet = np.asarray(inspection.contact_sheet(tiny, entries, views=2, tile_px=40))
    assert sheet.shape == (3 * (40 + 26), 4 * (2 * 40 + 8), 3)
    assert (sheet < 250).any(axis=2).mean() > 0.05
    assert inspection.ingest_report(tiny) == ([], [])
    with pytest.raises(DataError, match="no object to show"):
        inspection.contact_sheet(tiny, [])


def test_fetching_furniture_says_what_to_do_when_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture, "_INSIDE", Path("not/there"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no apt-get") as caught:
        furniture.fetch_furniture(tmp_path / "cache")
    assert "procedural" in caught.value.remedy
    # A client that fails: its last line is passed on, and nothing half-made is left.
    for name in ("apt-get", "dpkg-deb"):
        script = tmp_path / name
        script.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DataError, match="Unable to locate package"):
        furniture.fetch_furniture(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_fetched_furniture_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture, "_INSIDE", Path("not/there"))
    library = io.BytesIO()
    with zipfile.ZipFile(library, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", b"")
    (tmp_path / "library").write_bytes(library.getvalue())
    fetch = tmp_path / "apt-get"
    fetch.write_text("#!/bin/sh\necho package > sweethome3d-furniture_1.8-1_all.deb\n")
    unpack = tmp_path / "dpkg-deb"
    unpack.write_text(f'#!/bin/sh\nmkdir -p "$3/not/there"\ncp {tmp_path}/library "$3/not/there/a.sh3f"\n')
    for script in (fetch, unpack):
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    folder = furniture.fetch_furniture(tmp_path / "cache")
    assert [path.name for path in folder.glob("*.sh3f")] == ["a.sh3f"]
    fetch.write_text("#!/bin/sh\nexit 1\n")
    assert furniture.fetch_furniture(tmp_path / "cache") == folder


def run_job(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs" / name), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_the_jobs_prepare_and_look(tmp_path: Path) -> None:
    out = str(tmp_path / "set")
    numbers = (
        "--num-views",
        "2",
        "--image-px",
        "32",
        "--samples",
        "200",
        "--truth-resolution",
        "48",
        "--scan-px",
        "96",
    )
    made = run_job("prepare.py", "shapes", "--source", "procedural:3", "--out", out, "--local", *numbers)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "3 objects, 6 views" in made.stdout
    looked = run_job("inspect_data.py", out, "--out", str(tmp_path / "sheet.png"), "--verify")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "every shard matches its checksum" in looked.stdout
    assert Image.open(tmp_path / "sheet.png").width > 100


def test_the_jobs_prepare_and_look_at_images(tmp_path: Path) -> None:
    photos, out = write_cutouts(tmp_path / "photos"), str(tmp_path / "set")
    made = run_job("prepare.py", "images", "--source", f"cutouts:{photos}", "--out", out, "--local", "--image-px", "32")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "6 objects, 6 views" in made.stdout
    looked = run_job("inspect_data.py", out, "--out", str(tmp_path / "sheet.png"))
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "6 images of 32 px" in looked.stdout
    assert "is it cut out?" in looked.stdout
    assert Image.open(tmp_path / "sheet.png").width > 100


def test_the_jobs_refuse_in_words(tmp_path: Path) -> None:
    refused = run_job("inspect_data.py", str(tmp_path))
    assert refused.returncode == 2
    assert "is not a prepared data set" in refused.stdout.replace("\n", " ")
    assert "remedy" in refused.stdout
    assert "Traceback" not in refused.stderr + refused.stdout
    job = load_job("prepare")
    with pytest.raises(RayliftError, match="no such file"):
        job.main(job.Shapes(source=("gone",), out=str(tmp_path / "x"), local=True), Console(quiet=True))


def test_textures_that_unpack_to_more_than_the_limit_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "meshes"
    folder.mkdir()
    (folder / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n")
    (folder / "a.mtl").write_text("newmtl m\nmap_Kd broken.png\n")
    (folder / "broken.png").write_bytes(b"no picture")
    source = FolderSource(folder)
    loaded = source.load(source.items()[0], 1 << 20)
    assert all(material.texture is None for material in loaded.scene.materials)
    shutil.rmtree(folder)
    with pytest.raises(DataError):
        source.items()
