"""Meshes of another program: matched by name, aligned like the baselines, scored by every protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from raylift.config.recipe import Recipe
from raylift.core.errors import DataError
from raylift.core.types import Mesh
from raylift.data.feed.image_export import exported_name
from raylift.data.feed.stream import chosen_entries
from raylift.data.shapes.record import load_object
from raylift.data.sources.mesh_reading import read_mesh_in_folder
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.report import EvaluationReport
from raylift.export.mesh_files import file_stem, write_mesh
from raylift.runs.referee import colored_mesh, evaluate_meshes, referee_recipe


def quick(align: str = "similarity") -> Recipe:
    recipe = referee_recipe()
    evaluation = replace(
        recipe.evaluation, protocols=("gso", "meshrcnn"), align=align, color_views=0, resolution=32, panels=1
    )
    return replace(recipe, evaluation=evaluation, data=replace(recipe.data, eval_views=1))


def truths(dataset: ShardedDataset) -> dict[str, Mesh]:
    return {entry.id: load_object(dataset, entry.id).mesh for entry in chosen_entries(dataset, "test", quick().data)}


def written_by_another_program(mesh: Mesh, path: Path) -> None:
    """In its own frame: lying on its side, 12 units long, far from the origin."""
    vertices = mesh.vertices.numpy() @ Rotation.from_euler("xyz", [90, 20, 130], degrees=True).as_matrix().T
    trimesh.Trimesh(12 * vertices + [30, 0, -7], mesh.faces.numpy(), process=False).export(path)


def scored(chairs: ShardedDataset, meshes: Path, out: Path, align: str = "similarity") -> EvaluationReport:
    return evaluate_meshes(meshes, quick(align), chairs, "test", out).report


def test_true_meshes_in_any_frame_score_best_and_baselines_are_aligned_too(
    chairs: ShardedDataset, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    for name, mesh in truths(chairs).items():
        written_by_another_program(mesh, tmp_path / "made" / f"{file_stem(name)}.ply")
    (tmp_path / "made" / "notes.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    report = scored(chairs, tmp_path / "made", tmp_path / "out")
    metrics = report.metrics()
    assert metrics["test/gso/f_score_0.1_mean"] > 0.99
    assert metrics["test/gso/chamfer_l1_mean"] < 0.03
    assert any("aligned" in note for note in report.notes)
    assert any("notes.obj" in note for note in report.notes)
    assert (tmp_path / "out" / "viewer.html").is_file()
    as_they_are = scored(chairs, tmp_path / "made", tmp_path / "plain", "none").metrics()
    assert as_they_are["test/gso/f_score_0.5_mean"] < 0.01
    for method in ("mean_shape", "retrieval"):
        assert metrics[f"test/{method}/gso/chamfer_l1_mean"] < as_they_are[f"test/{method}/gso/chamfer_l1_mean"]
        assert metrics[f"test/{method}/gso/chamfer_l1_mean"] > metrics["test/gso/chamfer_l1_mean"]


def test_meshes_named_by_samples_are_found(chairs: ShardedDataset, tmp_path: Path) -> None:
    """As an evaluation names its own, and as exported images are named; in the data set's frame."""
    (tmp_path / "made").mkdir()
    (first, mesh), (second, other) = truths(chairs).items()
    write_mesh(mesh, tmp_path / "made" / f"{file_stem(first + '#0')}.glb")
    write_mesh(other, tmp_path / "made" / f"{exported_name(second, 0)}.obj")
    assert scored(chairs, tmp_path / "made", tmp_path / "out", "none").metrics()["test/meshrcnn/f1_0.3_mean"] > 0.9


def test_meshes_that_do_not_match_are_refused(chairs: ShardedDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        scored(chairs, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "made").mkdir()
    with pytest.raises(DataError, match="found no mesh"):
        scored(chairs, tmp_path / "made", tmp_path / "out")
    (first, mesh), (second, _) = truths(chairs).items()
    write_mesh(mesh, tmp_path / "made" / "chair.glb")
    with pytest.raises(DataError, match=r"no file .* chair.glb") as refused:
        scored(chairs, tmp_path / "made", tmp_path / "out")
    assert f"{file_stem(first)}.glb" in str(refused.value.remedy)
    write_mesh(mesh, tmp_path / "made" / f"{file_stem(first)}.glb")
    write_mesh(mesh, tmp_path / "made" / f"{file_stem(second)}x.glb")
    with pytest.raises(DataError, match=rf"1 of 2 samples have no mesh: {second}#0 \(is it .*x.glb\?\)"):
        scored(chairs, tmp_path / "made", tmp_path / "out")
    report = evaluate_meshes(tmp_path / "made", quick(), chairs, "test", tmp_path / "out", allow_missing=True).report
    assert report.num_empty == 1
    assert np.isclose(min(report.model.values("gso/f_score_0.1")), 0.0)
    write_mesh(mesh, tmp_path / "made" / f"{file_stem(first)}.obj")
    with pytest.raises(DataError, match="have one name"):
        scored(chairs, tmp_path / "made", tmp_path / "out")


def test_a_mesh_without_colours_has_none(tmp_path: Path) -> None:
    """White on white would not be seen in the pictures, and it is no answer to be scored."""
    box = trimesh.creation.box()
    box.export(tmp_path / "plain.ply")
    assert colored_mesh(read_mesh_in_folder(tmp_path, "plain.ply", 1 << 20).scene).vertex_colors is not None
    box.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 255, 255, 255])
    )
    box.export(tmp_path / "white.glb")
    assert colored_mesh(read_mesh_in_folder(tmp_path, "white.glb", 1 << 20).scene).vertex_colors is None
