"""From a checkpoint to meshes: by the job, and by MLflow's own loader."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import trimesh
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console

from raylift.core.errors import CheckpointError, ConfigError, RayliftError
from raylift.core.step_info import StepInfo
from raylift.data.feed.batches import collate
from raylift.data.feed.image_folder import make_input
from raylift.data.feed.user_image import assemble_image
from raylift.models import catalogue
from raylift.runs.finishing import Finishing
from raylift.runs.reconstruct import Reconstructor, log_model
from raylift.tracking.address import default_tracking_uri
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.training.checkpoint import CheckpointStore
from tests.scripts import load_job

ROOT = Path(__file__).parents[2]
CAMERA = '{"azimuth_deg": 30, "elevation_deg": 20}'


def picture() -> bytes:
    rows, columns = np.mgrid[:48, :48]
    rgba = np.zeros((48, 48, 4), np.uint8)
    rgba[(rows - 24) ** 2 + (columns - 24) ** 2 < 15**2] = (200, 80, 40, 255)
    stored = io.BytesIO()
    Image.fromarray(rgba).save(stored, "png")
    return stored.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best checkpoint makes a ball of radius 0.3 of a picture, and whose last one nothing good."""
    folder = tmp_path_factory.mktemp("run")
    recipe = catalogue.get("implicit/test", ["model.conditioning.kind=image"])
    model = catalogue.build_model(recipe)
    store = CheckpointStore(folder / "checkpoints")
    image = make_input("ball", picture(), CAMERA)
    batch = collate([assemble_image(image.rgba, None, image.camera, model.request, "ball")])
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(150):
        points = torch.rand(1, 256, 3, generator=generator) * 1.1 - 0.55
        sdf = (points.norm(dim=-1) - 0.3).clamp(-0.1, 0.1)
        given = replace(
            batch, fields={**batch.fields, "points": points, "sdf": sdf, "color": (points + 0.5).clamp(0, 1)}
        )
        terms = model.losses("fit", given, StepInfo(step, 150), {}).terms
        optimizer.zero_grad()
        sum((term.share * term.weight for term in terms), torch.zeros(())).backward()
        optimizer.step()
    values = json.loads(recipe.to_json())
    store.write(5, 12, model, {"model": {"averages": {}}}, values, {"val/iou": 0.5})
    store.write(9, 12, catalogue.build_model(recipe), {"model": {"averages": {}}}, values, {"val/iou": 0.1})
    return folder


def test_a_run_opens_at_its_best_checkpoint(run: Path) -> None:
    reconstructor = Reconstructor.of_run(run, "cpu")
    assert reconstructor.where.endswith("step-00000005.pt")
    outcome = reconstructor(make_input("ball", picture(), CAMERA), 48)
    radius = outcome.mesh.vertices.norm(dim=1)
    assert float(radius.median()) == pytest.approx(0.3, abs=0.05)
    assert outcome.mesh.vertex_colors is not None
    assert outcome.num_evaluations > 0


def test_a_run_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Reconstructor.of_run(tmp_path)


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """The module of ``raylift reconstruct``."""
    return load_job("reconstruct")


def test_the_job_makes_what_it_can(
    run: Path, tmp_path: Path, job: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("free", "seen"):
        (images / f"{name}.png").write_bytes(picture())
    (images / "seen.json").write_text(CAMERA)
    (images / "torn.png").write_bytes(picture()[:100])
    assert job.main(job.Arguments(images, tmp_path / "out", run=str(run), resolution=40, device="cpu"), Console()) == 0
    assert "2 of 3 reconstructed, 1 of them with the canonical camera" in capsys.readouterr().out
    entries = {entry["image"]: entry for entry in json.loads((tmp_path / "out" / "summary.json").read_text())["images"]}
    assert (entries["free.png"]["camera"], entries["seen.png"]["camera"]) == ("canonical", "sidecar")
    assert "torn" in entries["torn.png"]["problem"]
    for ending in ("glb", "obj", "ply"):
        assert trimesh.load(tmp_path / "out" / f"seen.{ending}", force="mesh").is_watertight
    assert "torn" in (tmp_path / "out" / "viewer.html").read_text()


def test_the_job_refines_and_textures(run: Path, tmp_path: Path, job: ModuleType) -> None:
    (tmp_path / "ball.png").write_bytes(picture())
    (tmp_path / "ball.json").write_text(CAMERA)
    arguments = job.Arguments(
        tmp_path / "ball.png",
        tmp_path / "out",
        run=str(run),
        resolution=24,
        refine=4,
        texture_px=64,
        formats=("glb", "obj"),
        device="cpu",
    )
    assert job.main(arguments, Console(width=200)) == 0
    (entry,) = json.loads((tmp_path / "out" / "summary.json").read_text())["images"]
    assert any("mask IoU" in note for note in entry["notes"])
    assert any("% visible" in note for note in entry["notes"])
    assert "% visible" in (tmp_path / "out" / "viewer.html").read_text()
    assert {path.name for path in (tmp_path / "out").glob("ball*")} == {
        "ball.glb",
        "ball.obj",
        "ball.mtl",
        "ball_0.png",
    }
    ball = trimesh.load(tmp_path / "out" / "ball.glb", force="mesh")
    assert ball.visual.material.baseColorTexture is not None
    # The photograph's colour: the model's, position + 0.5, is nowhere near it on a ball of radius 0.3.
    texels = np.asarray(ball.visual.material.baseColorTexture.convert("RGB"), int).reshape(-1, 3)
    assert (np.abs(texels - (200, 80, 40)).max(1) < 12).mean() > 0.05
    for wrong in ({"refine": -1}, {"texture_px": 5}):
        with pytest.raises(RayliftError):
            job.main(replace(arguments, **wrong), Console())


def test_finishing_extracts_fewer_faces_by_default(run: Path) -> None:
    reconstructor = Reconstructor.of_run(run, "cpu")
    image = make_input("ball", picture(), CAMERA)
    told: list[str] = []
    outcome = reconstructor(image, finishing=Finishing(refine_steps=2), finishing_progress=told.append)
    assert 2_000 < len(outcome.mesh.faces) < 16_000
    assert outcome.mesh.vertex_colors is not None
    assert told == ["refining, step 1 of 2", "refining, step 2 of 2"]
    assert len(outcome.notes) == 1


def test_the_job_logs_to_the_run(run: Path, tmp_path: Path, job: ModuleType) -> None:
    (tmp_path / "ball.png").write_bytes(picture())
    arguments = job.Arguments(
        tmp_path / "ball.png",
        tmp_path / "out",
        run=str(run),
        resolution=32,
        formats=("glb",),
        device="cpu",
        log_to_run=True,
    )
    assert job.main(arguments, Console()) == 0
    client = MlflowClient(default_tracking_uri(run.parent))
    experiment = client.get_experiment_by_name("implicit")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == run.name
    paths = {
        item.path for folder in ("", "reconstructions") for item in client.list_artifacts(logged.info.run_id, folder)
    }
    assert {"model_card.md", "reconstructions/viewer.html", "reconstructions/ball.glb"} <= paths
    assert len(logged.outputs.model_outputs) == 1
    client.update_run(logged.info.run_id, status="FAILED")
    job.log_to_run(arguments, [], tmp_path / "out" / "viewer.html")
    assert client.get_run(logged.info.run_id).info.status == "FAILED"
    with pytest.raises(ConfigError, match="without --run"):
        job.main(replace(arguments, run="", checkpoint="x"), Console())


def test_the_job_wants_one_model(tmp_path: Path, job: ModuleType) -> None:
    for given in ({}, {"run": "a", "checkpoint": "b"}):
        with pytest.raises(ConfigError, match="give exactly one"):
            job.main(job.Arguments(tmp_path, tmp_path / "out", **given), Console())


def test_mlflow_loads_the_model_and_reconstructs(run: Path, tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    tracker = MlflowTracker(uri, "implicit", "a run", tmp_path / "spool", system_metrics_every_s=0)
    log_model(tracker, run)
    tracker.finish()
    (tmp_path / "ball.png").write_bytes(picture())
    # A process that only has MLflow: the model brings raylift's code along. Whatever unpickles in it fails.
    code = (
        "import sys, mlflow, numba, pandas, pickle, torch, cloudpickle\n"
        "def refuse(*_, **__): raise SystemExit('a pickle is loaded')\n"
        "for module in (pickle, cloudpickle): module.load = module.loads = refuse\n"
        "pickle.Unpickler, torch.load = type('Refused', (), {'__init__': refuse}), refuse\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model(sys.argv[2])\n"
        "image = open(sys.argv[3], 'rb').read()\n"
        "table = pandas.DataFrame({'image': [image, b'torn'], 'camera': [sys.argv[4], None]})\n"
        "out = model.predict(table, params={'resolution': 40})\n"
        "assert 'format is not known' in out.problem[1], out.problem[1]\n"
        "open('ball.glb', 'wb').write(out.glb[0])\n"
    )
    words = [uri, f"runs:/{tracker.run_id}/model", str(tmp_path / "ball.png"), CAMERA]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ball = trimesh.load(tmp_path / "ball.glb", force="mesh")
    assert ball.is_watertight
    assert float(np.median(np.linalg.norm(ball.vertices, axis=1))) == pytest.approx(0.3, abs=0.05)
