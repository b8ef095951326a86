"""A run that keeps training shapes: trained, resumed and asked for a photograph, with no data set at hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raylift.data.feed.image_folder import make_input
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.models import catalogue
from raylift.runs.reconstruct import Reconstructor
from raylift.runs.worker import RunPaths, train_worker

SMALL = (
    "model.conditioning.kind=image",
    "model.prior.num_neighbors=2",
    "model.backbone=none",
    "scale.workers=0",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "chairs"
    ingest([ProceduralSource(6, seed=3)], str(folder), replace(TINY, iou_points=5000), parallel="none")
    return folder


def test_a_photograph_is_reconstructed_from_the_run_alone(data: Path, tmp_path: Path) -> None:
    recipe = catalogue.get("implicit/test", [*SMALL, "schedule.num_steps=4"])
    place = RunPaths(str(data), str(tmp_path), "prior")
    train_worker(recipe, place, torch.device("cpu"), through_ray=False)
    data.rename(data.with_name("moved"))
    try:
        reconstructor = Reconstructor.of_run(place.folder, "cpu")
    finally:
        data.with_name("moved").rename(data)
    assert len(reconstructor.model.network.readers["prior"].bank) > 1
    rgba = np.zeros((48, 48, 4), np.uint8)
    rgba[12:40, 14:34] = (120, 80, 40, 255)
    stored = io.BytesIO()
    Image.fromarray(rgba).save(stored, "png")
    outcome = reconstructor(make_input("box", stored.getvalue(), '{"azimuth_deg": 30, "elevation_deg": 20}'), 32)
    assert not outcome.mesh.is_empty, "the prior alone has a surface"


class _Killed(Exception):
    pass


def _killed(report: object) -> None:
    assert _subnormals_flushed(), "training takes the speed of a CPU that flushes them"
    raise _Killed


def _subnormals_flushed() -> bool:
    return float(torch.tensor([1e-39]) * 1.0) == 0


def test_a_restart_keeps_the_same_shapes(data: Path, tmp_path: Path) -> None:
    recipe = catalogue.get("implicit/test", [*SMALL, "schedule.num_steps=6", "schedule.checkpoint_every=3"])
    once, twice = (RunPaths(str(data), str(tmp_path), name) for name in ("once", "twice"))
    train_worker(recipe, once, torch.device("cpu"), through_ray=False)
    with pytest.raises(_Killed):
        train_worker(recipe, twice, torch.device("cpu"), _killed, through_ray=False)
    assert not _subnormals_flushed(), "and hands the process back as it was, even when it fails"
    train_worker(recipe, twice, torch.device("cpu"), through_ray=False)
    expected = Reconstructor.of_run(once.folder, "cpu").model.state_dict()
    resumed = Reconstructor.of_run(twice.folder, "cpu").model.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())
