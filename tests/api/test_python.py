"""The package from Python: loading, reconstructing, exporting, measuring, and a notebook that does all of it."""

from __future__ import annotations

import ast
import builtins
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
import yaml
from PIL import Image

import raylift
from raylift.core.errors import CheckpointError, ConfigError, DataError, RayliftError
from raylift.data.feed.image_folder import format_camera
from raylift.models import catalogue
from raylift.training.checkpoint import CheckpointStore
from tests.api.conftest import FakeHub
from tests.notebooks import run_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "platform" / "notebooks" / "photo_to_mesh.ipynb"
CAMERA = {"azimuth_deg": 30, "elevation_deg": 20}


@pytest.fixture(scope="module")
def model(home: Path) -> raylift.ImageTo3D:
    return raylift.load(home / "runs" / "seats", "cpu")


def test_importing_is_light() -> None:
    code = "import sys, raylift; print(sorted({'torch', 'ray', 'mlflow', 'numpy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_export_is_there_and_known_to_type_checkers() -> None:
    tree = ast.parse(Path(raylift.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == raylift._HOMES
    assert {*typed, "__version__"} == set(raylift.__all__) <= set(dir(raylift))
    for name in typed:
        assert getattr(raylift, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = raylift.lod


def test_a_photo_is_a_mesh_whatever_holds_it(model: raylift.ImageTo3D, home: Path, tmp_path: Path) -> None:
    photo = home / "photo.png"
    picture = Image.open(photo)
    found = [model(one, resolution=32) for one in (photo, str(photo), picture, np.asarray(picture))]
    found += model([photo, np.asarray(picture) / 255.0], resolution=32)
    assert [one.name for one in found] == ["photo", "photo", "photo", "image", "photo", "image"]
    for one in found:
        torch.testing.assert_close(one.mesh.vertices, found[0].mesh.vertices)
    assert found[0].camera_source == "canonical"
    assert any("canonical camera" in note for note in found[0].notes)
    for ending in ("glb", "obj", "ply"):
        written = found[0].export(tmp_path / f"chair.{ending}")
        assert len(trimesh.load(written, force="mesh").faces) == len(found[0].mesh.faces)
    with pytest.raises(DataError, match=r"cannot write a mesh as chair\.stl"):
        found[0].export(tmp_path / "chair.stl")


def test_a_camera_is_read_from_its_file_or_given(model: raylift.ImageTo3D, home: Path, tmp_path: Path) -> None:
    (tmp_path / "seen.png").write_bytes((home / "photo.png").read_bytes())
    (tmp_path / "seen.json").write_text(json.dumps(CAMERA))
    beside = model(tmp_path / "seen.png", resolution=32)
    given = model(home / "photo.png", camera=CAMERA, resolution=32)
    again = model(np.asarray(Image.open(home / "photo.png")), camera=given.camera, resolution=32)
    assert beside.camera_source == given.camera_source == "sidecar"
    for one in (given, again):
        torch.testing.assert_close(one.mesh.vertices, beside.mesh.vertices, atol=1e-4, rtol=0)
    assert format_camera(given.camera) == format_camera(beside.camera)
    with pytest.raises(ConfigError, match="list of images"):
        model([home / "photo.png"], camera=CAMERA)  # type: ignore[call-overload]
    with pytest.raises(DataError, match="camera of photo cannot be read"):
        model(home / "photo.png", camera={"azimuth": 3})
    with pytest.raises(DataError, match="depth of photo is"):
        model(home / "photo.png", camera=CAMERA, depth=np.ones((3, 3)))
    with pytest.raises(ConfigError, match="takes cut-outs"):
        model(home / "photo.png", box=(0, 0, 4, 4))


def test_a_notebook_shows_the_viewer(model: raylift.ImageTo3D, home: Path) -> None:
    found = model(home / "photo.png", resolution=32)
    shown = found._repr_html_()
    assert shown.startswith("<iframe")
    assert 'sandbox="allow-scripts"' in shown
    assert "&lt;canvas" in shown or "canvas" in shown
    assert "<script" not in shown, "the page is an attribute of the frame"
    assert repr(found).startswith("Reconstruction('photo': ")


def test_unusable_images_are_named(model: raylift.ImageTo3D, home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7 and so on")
    for name, words in (("empty.png", "empty"), ("paper.jpg", "a PDF document"), ("none.png", "cannot be read")):
        with pytest.raises(DataError, match=words):
            model(tmp_path / name)
    with pytest.raises(DataError, match="is a folder"):
        model(tmp_path)
    whole = np.asarray(Image.open(home / "photo.png"))
    for wrong, words in (
        (whole[None], "not an image"),
        (whole.astype(int), "int64 values"),
        (whole * 1.0, "floats outside"),
        (b"bytes", "type bytes"),
    ):
        with pytest.raises(DataError, match=words):
            model(wrong)  # type: ignore[call-overload]


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to unpickle raises."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle is loaded")

    for module, names in ((pickle, ("Unpickler", "load", "loads")), (torch, ("load",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)


def test_an_exported_model_loads_without_pickle(
    model: raylift.ImageTo3D, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = model(home / "photo.png", resolution=32)
    folder = model.save(tmp_path / "seats", license="cc-by-4.0")
    assert sorted(path.name for path in Path(folder).iterdir()) == ["README.md", "model.safetensors", "recipe.json"]
    assert catalogue.get(f"{folder}/recipe.json") == model.recipe
    request.getfixturevalue("no_pickle")
    loaded = raylift.load(folder, "cpu")
    assert loaded.where == folder
    after = loaded(home / "photo.png", resolution=32)
    torch.testing.assert_close(after.mesh.vertices, before.mesh.vertices, atol=0, rtol=0)
    with pytest.raises(AssertionError, match="a pickle"):
        raylift.load(home / "runs" / "seats", "cpu")  # a checkpoint is read by torch.load(weights_only=True)
    again = loaded.save(tmp_path / "again")
    for name in ("README.md", "model.safetensors", "recipe.json"):
        assert (Path(again) / name).read_bytes()[-4000:] == (Path(folder) / name).read_bytes()[-4000:]
    with pytest.raises(ConfigError, match="has a model card"):
        loaded.save(tmp_path / "third", license="mit")


def test_the_card_has_what_hubs_read(home: Path, tmp_path: Path) -> None:
    folder = raylift.load(home / "runs" / "seats", "cpu").save(tmp_path / "seats", license="cc-by-4.0")
    _, front, body = Path(folder, "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["pipeline_tag"] == "image-to-3d"
    assert (metadata["library_name"], metadata["license"]) == ("raylift", "cc-by-4.0")
    assert "implicit" in metadata["tags"]
    assert "raylift.load(" in body
    cards = pytest.importorskip("huggingface_hub")
    assert cards.ModelCard.load(Path(folder, "README.md")).data.pipeline_tag == "image-to-3d"


def test_a_hub_id_loads(hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = raylift.load("studio/seats", "cpu")
    assert loaded.where == "hf:studio/seats"
    assert len(loaded(home / "photo.png", resolution=32).mesh.faces) > 0
    for name in ("studio/chairs", "hf:studio/chairs"):
        with pytest.raises(DataError, match="studio/chairs cannot be loaded from the hub"):
            raylift.load(name)
    (hub.folder / "recipe.json").unlink()
    with pytest.raises(ConfigError, match="is not a hub id"):
        raylift.load("hf:a/b/c")
    hidden = builtins.__import__

    def without_hub(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ModuleNotFoundError(name)
        return hidden(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_hub)
    with pytest.raises(ConfigError, match=r"raylift\[hub\]"):
        raylift.load("studio/seats")


def test_what_is_no_model_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    folder = Path(raylift.load("runs/seats", "cpu").save(tmp_path / "seats"))
    for wrong, error, words in (
        ("", ConfigError, "name is empty"),
        ("runs/seat", ConfigError, "did you mean runs/seats"),
        ("photo.png", ConfigError, "not a checkpoint"),
        ("data/seats", DataError, "neither checkpoints nor a recipe.json"),
        (str(home / "nowhere" / "at" / "all"), ConfigError, "there is no"),
    ):
        with pytest.raises(error, match=words):
            raylift.load(wrong)
    weights = folder / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:1000])
    with pytest.raises(DataError, match="is damaged"):
        raylift.load(folder)
    weights.write_bytes(kept)
    recipe = folder / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"hidden": 32', '"hidden": 16'))
    with pytest.raises(CheckpointError, match="do not fit"):
        raylift.load(folder)
    recipe.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        raylift.load(folder)
    recipe.unlink()
    with pytest.raises(DataError, match=r"no recipe\.json"):
        raylift.load(folder)
    (home / "runs" / "birds.stage1").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=r"did you mean runs/birds\.stage1"):
        raylift.load("runs/birds")


def test_a_model_without_shapes_is_refused(tmp_path: Path) -> None:
    recipe = catalogue.get("part_segmentation/test")
    built = catalogue.build_model(recipe)
    values = json.loads(recipe.to_json())
    CheckpointStore(tmp_path / "parts" / "checkpoints").write(1, 1, built, {"model": {"averages": {}}}, values)
    with pytest.raises(ConfigError, match="does not reconstruct shapes"):
        raylift.load(tmp_path / "parts")


def test_a_data_set_is_a_sequence(home: Path) -> None:
    items = raylift.open_dataset(home / "data" / "seats")
    assert len(items) == 6
    assert [one.id for one in items] == [one.id for one in items[:]] == sorted(one.id for one in items)
    first = items[0]
    assert (first.id, items[first.id].id, items[-1].id) == (items[0].id, first.id, items[5].id)
    assert first.view(1).rgba.shape == (48, 48, 4)
    assert len(first.mesh.faces) > 0
    assert "<iframe" in first._repr_html_()
    train = raylift.open_dataset(home / "data" / "seats", "train")
    assert {one.split for one in train} == {"train"}
    with pytest.raises(IndexError):
        _ = items[6]
    for wrong in (lambda: items["no"], lambda: first.view(2), lambda: raylift.open_dataset(home)):
        with pytest.raises(DataError):
            wrong()
    with pytest.raises(ConfigError, match="split"):
        raylift.open_dataset(home / "data" / "seats", "tests")


def test_preparing_again_keeps_the_shards_and_names_a_wrong_setting(home: Path) -> None:
    from tests.api.conftest import SIZES

    again = raylift.prepare("procedural:6", home / "data" / "seats", local=True, **SIZES)  # type: ignore[arg-type]
    assert again.num_made_shards == 0
    assert again.num_kept_shards > 0
    with pytest.raises(ConfigError, match="did you mean 'num_views'"):
        raylift.prepare("procedural:6", home / "data" / "other", num_view=2)


def test_training_refuses_what_the_job_refuses(home: Path) -> None:
    data = home / "data" / "seats"
    with pytest.raises(ConfigError, match="did you mean"):
        raylift.train("implicit/test", data, overrides={"model.hiden": 3}, storage=home / "runs", tracking="none")
    recipe = catalogue.get("implicit/test", ["scale.workers=0"])
    with pytest.raises(RayliftError, match="another recipe"):
        raylift.train(recipe, data, name="seats", storage=home / "runs", tracking="none")
    with pytest.raises(ConfigError, match="cannot change a trained model"):
        raylift.evaluate(home / "runs" / "seats", data, overrides={"model.hidden": 3})


def test_the_notebook_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    item, result, written, seen, names, loaded, evaluation = [
        value for value in run_notebook(NOTEBOOK) if value is not None
    ]
    assert "<iframe" in item._repr_html_()
    assert "<iframe" in result._repr_html_()
    assert written == Path("photo.glb")
    assert len(trimesh.load(home / "photo.glb", force="mesh").faces) == len(result.mesh.faces)
    assert seen.camera_source == "sidecar"
    assert names == ["photo", "image"]
    assert isinstance(loaded, raylift.ImageTo3D)
    assert evaluation.scores["test/occnet/iou_mean"] == evaluation.table.loc["model", "occnet/iou"]
    assert evaluation.folder == home / "runs" / "seats" / "evaluation" / "test"
    assert [path.name for path in evaluation.files] == ["scores.json"], "this recipe draws no panels"
    assert evaluation.tracking_uri == ""
    assert "mean shape" in " ".join(evaluation.table.index).replace("_", " ")
    assert "<table" in evaluation._repr_html_()
    # The scores are in the next card.
    folder = raylift.load("runs/seats", "cpu").save(home / "scored")
    front = yaml.safe_load(Path(folder, "README.md").read_text().split("---\n", 2)[1])
    (found,) = front["model-index"][0]["results"]
    assert {"type", "value"} <= set(found["metrics"][0])
