"""Evaluates a trained run: scores, images and meshes, as files in its folder and in its MLflow run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.core.types import Reconstruction
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import Progress, evaluate
from raylift.evaluation.meshes import Solid
from raylift.evaluation.panels import Panel, panel_of, stack_panels, turntable, write_animation
from raylift.evaluation.report import MODEL_METHOD, EvaluationReport
from raylift.export.mesh_files import file_stem, write_mesh
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, write_viewer
from raylift.runs.iso_level import keep_level
from raylift.runs.reconstruct import Reconstructor, open_run_tracker

EVALUATION_SEED = 0
"""Seed of every draw of an evaluation, whatever the run's own seed: runs are compared on the same points."""
MESHES = "meshes"
"""Subfolder of an evaluation's meshes."""


@dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation.

    Attributes:
        report: every score.
        files: written files, with their subfolders of the evaluation's folder.
    """

    report: EvaluationReport
    files: tuple[tuple[Path, str], ...]


def evaluate_run(
    model: Reconstructor,
    recipe: Recipe,
    dataset: ShardedDataset,
    split: str,
    folder: Path,
    panels_of: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluated:
    """Evaluate a model on held-out objects; write scores.json, and for some objects images, meshes and a page.

    Args:
        recipe: the model's recipe, with the evaluation settings to use.
        split: "train", "val" or "test".
        folder: folder of the written files.
        panels_of: ids of objects to draw; by default the first ``evaluation.panels`` of the split.

    Raises:
        ConfigError: an object is not in the split.
        DataError: no objects of that split, or a damaged shard.
    """
    check_panels(dataset, split, panels_of)
    panels: list[Panel] = []

    def keep_panel(found: Reconstruction, solid: Solid) -> None:
        shown = {panel.id.rpartition("#")[0] for panel in panels}
        name = found.id.rpartition("#")[0]
        wanted = name in panels_of if panels_of else len(panels) < recipe.evaluation.panels
        if wanted and name not in shown:
            panels.append(panel_of(dataset, model.model.request, found, solid.mesh))

    report = evaluate(
        model.model, dataset, split, recipe.evaluation, recipe.data, EVALUATION_SEED, progress, keep_panel
    )
    if recipe.evaluation.level == "auto" and report.level is not None:
        keep_level(model.where, report.level)
    return Evaluated(report, tuple(_write_results(report, panels, folder)))


def check_panels(dataset: ShardedDataset, split: str, panels_of: Sequence[str]) -> None:
    """Check that the objects to draw are in the split.

    Raises:
        ConfigError: one is not.
    """
    unknown = set(panels_of) - {entry.id for entry in dataset.entries(split)}
    if unknown:
        raise ConfigError(
            f"{', '.join(sorted(unknown))}: not in split {split} of {dataset.uri}",
            "use ids as in the table of worst cases or in raylift inspect",
        )


def track_evaluation(run: str, tracking: str, evaluated: Evaluated, dataset: ShardedDataset, step: int) -> str:
    """Log to the training's MLflow run, which is found by the run's folder; returns the tracking URI.

    Args:
        run: folder of the run, local or s3://.
        tracking: MLflow tracking URI; by default the one that training used.
        step: step of the checkpoint.
    """
    report = evaluated.report
    manifest, place = dataset.manifest, f"evaluation/{report.split}"
    tracker = open_run_tracker(run, tracking)
    # The same checkpoint may have been evaluated before, with other settings.
    tracker.log_metrics(report.metrics(), step, replace=True)
    tracker.log_table(f"{place}/objects", report.object_rows())
    tracker.log_table(f"{place}/summary", report.summary_rows())
    # Only runs evaluated on the same objects with the same settings can be compared object by object.
    tags = {"data": manifest.fingerprint, "how": f"{report.resolution} {report.unit}, {report.num_views} views"}
    tracker.set_tags({f"evaluation.{report.split}.{name}": value for name, value in tags.items()})
    tracker.log_dataset(Path(dataset.uri).name, dataset.uri, manifest.fingerprint, manifest.counts, report.split)
    for path, below in evaluated.files:
        tracker.log_artifact(path, f"{place}/{below}".rstrip("/"))
    tracker.finish("")
    return tracker.uri


def _write_results(report: EvaluationReport, panels: Sequence[Panel], folder: Path) -> list[tuple[Path, str]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(report.to_json())
    written = [(folder / "scores.json", "")]
    if panels:
        Image.fromarray(stack_panels(panels)).save(folder / "panels.png")
        write_animation(turntable(panels[0].mesh), folder / "turntable.gif")
        scores = {row["id"]: row for row in report.object_rows() if row["method"] == MODEL_METHOD}
        rows = [_viewer_row(panel, report.main_metric, scores[panel.id]) for panel in panels]
        write_viewer(rows, folder / "viewer.html", "Evaluation", report.split)
        written += [(folder / name, "") for name in ("panels.png", "turntable.gif", "viewer.html")]
    for panel in panels:
        if not panel.mesh.is_empty:
            written.append((write_mesh(panel.mesh, folder / MESHES / f"{file_stem(panel.id)}.glb"), MESHES))
    return written


def _viewer_row(panel: Panel, metric: str, scores: Mapping[str, Any]) -> ViewerRow:
    return ViewerRow(
        panel.id,
        [ViewerImage("Input", panel.source)],
        [ViewerShape("Reconstruction", None if panel.mesh.is_empty else panel.mesh, problem="no surface")],
        panel.camera,
        f"{metric} {scores[metric]:.3f}" if metric in scores else "",
    )
