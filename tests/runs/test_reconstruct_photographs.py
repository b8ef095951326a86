"""Photographs without a mask to meshes, by a model that sees objects in front of their background."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import trimesh
from PIL import Image
from rich.console import Console

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import ReconstructionModel
from raylift.core.step_info import StepInfo
from raylift.data.feed.image_folder import make_input
from raylift.models import catalogue
from raylift.runs.exported_model import export_model
from raylift.runs.finishing import Finishing
from raylift.runs.reconstruct import Reconstructor, load_predictor
from raylift.runs.trained_model import TrainedModel
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.training.checkpoint import CheckpointStore
from tests.scripts import load_job


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the smallest recipe after one step: its banks have been seen."""
    folder = tmp_path_factory.mktemp("run")
    recipe = catalogue.get("dmnt/test")
    info = DatasetInfo(4, categories=CATEGORIES)
    model = catalogue.build_model(recipe, info).train()
    step = StepInfo(0, 8)
    model.after_step(step, model.losses("fit", synthetic_batch(model.request, 4), step, {}).carry)
    store = CheckpointStore(folder / "checkpoints")
    averages: dict[str, dict[str, object]] = {"features": {"averages": {}}, "latents": {"averages": {}}}
    store.write(1, 8, model, averages, json.loads(recipe.to_json()), info=info.to_dict())
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    rows, columns = np.mgrid[:90, :120]
    disc = (rows - 45) ** 2 + (columns - 60) ** 2 < 25**2
    pixels = np.where(disc[..., None], (200, 80, 40), (90, 120, 90)).astype(np.uint8)
    for name in ("one.jpg", "two.png"):
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def job() -> ModuleType:
    return load_job("reconstruct")


def test_photographs_give_meshes(run: Path, photographs: Path, tmp_path: Path, job: ModuleType) -> None:
    arguments = job.Arguments(photographs, tmp_path, run=str(run), formats=("glb",), device="cpu")
    assert job.main(arguments, Console(width=200)) == 0
    entries = json.loads((tmp_path / "summary.json").read_text())["images"]
    assert [entry["camera"] for entry in entries] == ["model", "model"]
    assert all("the middle 90 x 90 of 120 x 90 pixels" in entry["notes"][0] for entry in entries)
    for name in ("one", "two"):
        assert len(trimesh.load(tmp_path / f"{name}.glb", force="mesh").faces) > 0


def test_a_box_frames_one_photograph(run: Path, photographs: Path, tmp_path: Path, job: ModuleType) -> None:
    box = (35, 20, 85, 70)
    arguments = job.Arguments(photographs / "two.png", tmp_path, run=str(run), box=box, formats=("glb",), device="cpu")
    assert job.main(arguments, Console(width=200)) == 0
    (entry,) = json.loads((tmp_path / "summary.json").read_text())["images"]
    assert "83 x 83 pixels around the box" in entry["notes"][0]
    with pytest.raises(ConfigError, match="2 images"):
        job.main(job.Arguments(photographs, tmp_path, run=str(run), box=box, device="cpu"), Console())
    recipe = catalogue.get("implicit/test", ["model.conditioning.kind=image"])
    model = catalogue.build_model(recipe)
    assert isinstance(model, ReconstructionModel)
    with pytest.raises(ConfigError, match="takes cut-outs"):
        job.check_box(arguments, Reconstructor(model, recipe, "", torch.device("cpu")), 1)


def test_the_logged_model_takes_photographs(run: Path, photographs: Path, tmp_path: Path) -> None:
    predict = load_predictor(Path(export_model(TrainedModel.of_run(run, "cpu"), tmp_path / "model")))
    (row,) = predict(pd.DataFrame([{"image": (photographs / "one.jpg").read_bytes()}]), {}).to_dict("records")
    assert row["problem"] == ""
    assert row["num_faces"] > 0


def test_what_needs_a_mask_is_refused_before_the_model_runs(run: Path, photographs: Path) -> None:
    reconstructor = Reconstructor.of_run(run, "cpu")
    image = make_input("two", (photographs / "two.png").read_bytes(), background=True)
    for finishing in (Finishing(refine_steps=2), Finishing(texture_px=64)):
        with pytest.raises(DataError, match="has no mask"):
            reconstructor(image, finishing=finishing)
    textured = reconstructor(image, finishing=Finishing(texture_px=64, texture_from="model"))
    assert textured.mesh.texture is not None
