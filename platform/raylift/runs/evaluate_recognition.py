"""Evaluates a trained recogniser of objects: scores, pictures of the first and of the worst images, and meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from raylift.config.recipe import Recipe
from raylift.core.model import ObjectRecogniser, ReconstructionModel
from raylift.core.types import Mesh, Reconstruction
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import Progress
from raylift.evaluation.images.recognition import Recognised, evaluate_recognition
from raylift.evaluation.images.recognition_panels import COLUMNS, caption_of, recognition_panel
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.report import WORST_COUNT, metric_spec
from raylift.evaluation.strips import Strip, to_bytes
from raylift.export.mesh_files import file_stem, write_mesh
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, write_viewer
from raylift.runs.evaluate import EVALUATION_SEED, MESHES, Evaluated, check_panels

MESH_RESOLUTION = 64
"""Cells per edge for the surfaces of panels."""


@dataclass
class _Kept:
    """Images to draw: the wanted ones, and the worst by a metric.

    Attributes:
        wanted: ids of images to draw; by default the first ``count``.
    """

    wanted: Sequence[str]
    count: int
    chosen: list[Recognised] = field(default_factory=list)
    worst: list[Recognised] = field(default_factory=list)

    def keep(self, found: Recognised) -> None:
        name = found.id.rpartition("#")[0]
        if name in self.wanted if self.wanted else len(self.chosen) < self.count:
            self.chosen.append(found)
        self.worst = sorted([*self.worst, found], key=_badness)[:WORST_COUNT]


def _badness(found: Recognised) -> tuple[float, str]:
    """The order of the report's worst cases, which the evaluation's first metric decides."""
    metric = "viewpoint/symmetric_deg" if "viewpoint/symmetric_deg" in found.scores else "class/class_accuracy"
    value = found.scores.get(metric, 0.0)
    return (value if metric_spec(metric).higher_is_better else -value), found.id


def evaluate_recogniser(
    model: ObjectRecogniser,
    recipe: Recipe,
    dataset: ShardedDataset,
    split: str,
    folder: Path,
    panels_of: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluated:
    """Evaluate a recogniser on held-out images; write scores.json, panels.png and worst.png.

    If the model also reconstructs, the pictures show its meshes, which are written with a page that shows them.

    Args:
        recipe: the model's recipe, with the evaluation settings to use.
        split: "train", "val" or "test".
        folder: folder of the written files.
        panels_of: ids of images to draw; by default the first ``evaluation.panels`` of the split.

    Raises:
        ConfigError: an image is not in the split, or an unknown symmetry.
        DataError: no images of that split, a damaged shard, or not an image collection.
    """
    check_panels(dataset, split, panels_of)
    kept = _Kept(panels_of, recipe.evaluation.panels)
    report = evaluate_recognition(
        model, dataset, split, recipe.evaluation, recipe.data, EVALUATION_SEED, progress, kept.keep
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(report.to_json())
    written = [(folder / "scores.json", "")]
    worst = kept.worst if recipe.evaluation.panels or panels_of else []
    drawn = {
        name: [_Drawn.of(model, found) for found in some]
        for name, some in (("panels.png", kept.chosen), ("worst.png", worst))
        if some
    }
    for name, some in drawn.items():
        Image.fromarray(np.concatenate([one.picture for one in some])).save(folder / name)
        written.append((folder / name, ""))
    meshes = [one for one in drawn.get("panels.png", []) if one.mesh is not None]
    if meshes:
        rows = [one.viewer_row(model) for one in meshes]
        write_viewer(rows, folder / "viewer.html", "Recognised objects", f"{report.split}; {COLUMNS}")
        written.append((folder / "viewer.html", ""))
    for one in meshes:
        if one.mesh is not None and not one.mesh.is_empty:
            path = folder / MESHES / f"{file_stem(one.found.id)}.glb"
            written.append((write_mesh(one.mesh, path), MESHES))
    return Evaluated(report, tuple(written))


@dataclass(frozen=True)
class _Drawn:
    """One image's panel, with its mesh if the model reconstructs."""

    found: Recognised
    picture: Strip
    mesh: Mesh | None
    own: Reconstruction | None

    @staticmethod
    def of(model: ObjectRecogniser, found: Recognised) -> _Drawn:
        mesh, own = None, None
        if isinstance(model, ReconstructionModel):
            with torch.no_grad():
                device = next(model.parameters()).device
                own = model.reconstruct(found.evidence.to(device))[0]
                mesh = mesh_of(own, MESH_RESOLUTION)
        return _Drawn(found, recognition_panel(found, model.categories, mesh, own), mesh, own)

    def viewer_row(self, model: ObjectRecogniser) -> ViewerRow:
        assert self.own is not None, "only images with a mesh are on the page"
        image = to_bytes(self.found.evidence["image"][0].float().numpy().transpose(1, 2, 0))
        is_empty = self.mesh is None or self.mesh.is_empty
        return ViewerRow(
            self.found.id,
            [ViewerImage("Input", image), ViewerImage("Panel", self.picture)],
            [ViewerShape("Fit", None if is_empty else self.mesh, problem="no surface")],
            self.own.camera.to("cpu"),
            caption_of(self.found, model.categories).partition(": ")[2],
        )
