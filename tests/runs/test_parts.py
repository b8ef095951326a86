"""The parts job: from an image collection to a new version of it with part maps, trained or made elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raylift.config.data import DataConfig
from raylift.console import EXIT_FAILED, run_job
from raylift.core.errors import ConfigError, DataError
from raylift.core.types import SampleRequest
from raylift.data.feed.stream import SampleStream
from raylift.data.images.config import ImagesConfig
from raylift.data.images.precomputed_maps import PrecomputedMaps
from raylift.data.images.record import load_image
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue
from raylift.runs.reconstruct import Reconstructor
from raylift.runs.train import train
from raylift.training.checkpoint import open_checkpoint
from tests.data.image_layouts import HEIGHT, WIDTH, write_cutouts
from tests.scripts import load_job

LOCAL = ("--recipe", "part_segmentation/test", "scale.workers=0")
Call = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    folder = tmp_path_factory.mktemp("photos")
    config = ImagesConfig(image_px=32, min_object_px=4, val_share=0.3)
    ingest([open_source(f"cutouts:{write_cutouts(folder / 'raw', 8)}")], str(folder / "data"), config, parallel="none")
    return ShardedDataset.open(folder / "data")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    job = load_job("segment_parts")

    def call_job(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["parts.py", *map(str, words)])
        status = run_job(job.Arguments, job.main, job.__doc__)
        return status, " ".join(capsys.readouterr().out.split())

    return call_job


def test_trained_maps_are_written_once(photos: ShardedDataset, call: Call, tmp_path: Path) -> None:
    runs, out, picture = tmp_path / "runs", tmp_path / "with-parts", tmp_path / "p.png"
    words = ("--data", photos.uri, "--storage", runs, "--tracking", "none", *LOCAL)
    status, said = call(*words, "--out", out, "--picture", picture, "--num-pictured", 3)
    assert status == 0, said
    assert "parts: background, part 1, part 2, part 3" in said
    assert Image.open(picture).size == (4 * 64, 32)
    dataset = ShardedDataset.open(out)
    assert dataset.manifest.entries == photos.manifest.entries
    for entry in dataset.entries():
        record = load_image(dataset, entry.id)
        assert record.parts is not None
        maps = record.parts.astype(int)
        assert maps.shape == (4, 32, 32)
        assert abs(maps.sum(axis=0) - 255).max() <= 2
        assert abs(255 - maps[0] - record.rgba[..., 3]).max() <= 1
    batch = next(SampleStream(dataset, SampleRequest(16, parts=True), DataConfig(batch_size=2), 0).batches(0, 1, 0, 1))
    assert batch["parts"].shape == (2, 4, 16, 16)
    status, said = call(*words, "--out", out)
    assert status == EXIT_FAILED
    assert "already holds a data set" in said
    # The run is done: the same command with another folder trains nothing and writes the same maps.
    assert call(*words, "--out", tmp_path / "again")[0] == 0
    assert ShardedDataset.open(tmp_path / "again").manifest.fingerprint == dataset.manifest.fingerprint
    with pytest.raises(ConfigError, match="does not reconstruct shapes"):
        Reconstructor.of_run(runs / "part_segmentation-test", "cpu")


class _Killed(Exception):
    pass


def test_a_resumed_run_is_the_run_that_was_not_killed(photos: ShardedDataset, tmp_path: Path) -> None:
    recipe = catalogue.get("part_segmentation/test", ["scale.workers=0"])
    calm = train(recipe, photos.uri, tmp_path, "calm")

    def kill(report: object) -> None:
        if report.step >= 6:  # type: ignore[attr-defined]
            raise _Killed

    with pytest.raises(_Killed):
        train(recipe, photos.uri, tmp_path, "killed", progress=kill)
    resumed = train(recipe, photos.uri, tmp_path, "killed")
    assert resumed.fit.resumed_from is not None
    first, second = (open_checkpoint(outcome.fit.last or "").model for outcome in (calm, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_cannot_be_is_refused(photos: ShardedDataset, call: Call, tmp_path: Path) -> None:
    words = ("--data", photos.uri, "--out", tmp_path / "out", "--storage", tmp_path, "--tracking", "none")
    for more, problem in (
        (("--recipe", "implicit/test"), "predicts no part maps"),
        (("--part-names", "background", "head"), "--part-names without --maps"),
        (("--maps", tmp_path / "nowhere"), "there is no folder"),
    ):
        status, said = call(*words, *more)
        assert status == EXIT_FAILED
        assert problem in said
        assert "remedy" in said


# --- maps made elsewhere --------------------------------------------------------------------------------------------


def write_labels(folder: Path, dataset: ShardedDataset, scale: int = 1) -> Path:
    """Over the originals: 1 left of the middle, 2 right of it."""
    labels = np.where(np.arange(WIDTH * scale) < WIDTH * scale // 2, 1, 2).astype(np.uint8)
    for entry in dataset.entries():
        path = folder / f"{entry.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(labels, (HEIGHT * scale, 1))).save(path)
    return folder


@pytest.mark.parametrize("scale", [1, 3])
def test_labels_over_originals_are_cut_like_the_images(
    photos: ShardedDataset, call: Call, tmp_path: Path, scale: int
) -> None:
    folder, out = write_labels(tmp_path / "maps", photos, scale), tmp_path / "out"
    status, said = call("--data", photos.uri, "--out", out, "--maps", folder, "--part-names", "background", "a", "b")
    assert status == 0, said
    dataset = ShardedDataset.open(out)
    assert dataset.manifest.annotations.part_names == ("background", "a", "b")
    for entry in dataset.entries():
        record = load_image(dataset, entry.id)
        assert record.parts is not None
        left, _, right, _ = record.crop_box
        columns = left + (np.arange(32) + 0.5) / 32 * (right - left)
        rows = record.parts[0, 16]
        inside = (columns > 0.5) & (columns < WIDTH - 0.5) & (abs(columns - WIDTH / 2) > 1)
        np.testing.assert_array_equal(rows[inside], np.where(columns < WIDTH / 2, 1, 2)[inside])
        assert not rows[(columns < -1) | (columns > WIDTH + 1)].any()


def test_probabilities_over_the_squares(photos: ShardedDataset, tmp_path: Path) -> None:
    for entry in photos.entries():
        path = tmp_path / f"{entry.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack([np.full((32, 32), value) for value in (0.5, 0.3, 0.2)]))
    maps = PrecomputedMaps.open(tmp_path, photos, "square")
    assert (maps.names, maps.encoding) == (("background", "part 1", "part 2"), "probabilities")
    made = maps(load_image(photos, photos.entries()[0].id))
    assert made.shape == (3, 32, 32)
    assert abs(made.astype(int) - np.array([128, 76, 51])[:, None, None]).max() <= 1


def test_bad_maps_are_named(photos: ShardedDataset, tmp_path: Path) -> None:
    folder = write_labels(tmp_path, photos)
    first, second = (folder / f"{entry.id}.png" for entry in photos.entries()[:2])

    def refused(problem: str, **more: object) -> None:
        with pytest.raises(DataError, match=problem):
            PrecomputedMaps.open(folder, photos, **more)  # type: ignore[arg-type]

    refused("3 parts with the background, but there are 2 names", names=("background", "a"))
    good = first.read_bytes()
    first.write_bytes(good[:40])
    refused(f"1 of 8 images have no usable part map: {first.name} cannot be read")
    first.unlink()
    refused(f"{photos.entries()[0].id} has no map")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(first)
    refused("is a colour image")
    first.unlink()
    np.save(first.with_suffix(".npy"), np.ones((2, 4, 4), np.float32))
    refused("the probabilities in .* do not add up to 1")
    np.save(first.with_suffix(".npy"), np.full((2, 4, 4), 0.5, np.float32))
    refused("mixes labels .* and probabilities")
    first.write_bytes(good)
    refused("has two maps")
    assert second.is_file()
