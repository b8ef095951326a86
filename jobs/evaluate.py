"""Evaluate a trained model on held-out objects: every protocol that the data set has the truth for, mean and
median, beside trivial baselines.

    python jobs/evaluate.py --run runs/demo --data data/seats
    python jobs/evaluate.py --run s3://bucket/runs/chairs --data data/seats --split val evaluation.resolution=128
    python jobs/evaluate.py --checkpoint runs/demo/checkpoints/step-00000500.pt --data data/seats --tracking none

Writes scores.json (everything), panels.png, turntable.gif and viewer.html, prints the tables, and logs all to the run
in MLflow.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from PIL import Image
from rich.console import Console

from raylift.cluster.reconstruct import Reconstructor, open_run_tracker
from raylift.console import progress_bar, run_job
from raylift.core.errors import ConfigError
from raylift.core.types import Mesh, Reconstruction
from raylift.data.dataset import ShardedDataset
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.panels import Panel, panel_of, stack_panels, turntable, write_animation
from raylift.evaluation.report import MODEL, EvaluationReport
from raylift.evaluation.tables import category_table, score_table, worst_table
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, write_viewer
from raylift.recipes import tree
from raylift.recipes.recipe import Recipe


@dataclass(frozen=True)
class Arguments:
    """Evaluate a trained model on held-out objects.

    Attributes:
        data: prepared data set: a folder or s3://.
        run: a run's folder, local or s3://: its best checkpoint is used.
        checkpoint: one checkpoint, .../step-NNNNNNNN.pt.
        split: held-out objects.
        panels_of: ids of objects to draw; by default the first evaluation.panels of the split.
        out: where results go; by default evaluation/SPLIT in the run's folder (here, for s3://).
        tracking: MLflow server or store; by default the one that training used; "none" for none.
        device: cpu or cuda; a GPU where there is one by default.
        overrides: values of evaluation and data, as path=value.
    """

    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    run: str = ""
    checkpoint: str = ""
    split: Literal["train", "val", "test"] = "test"
    panels_of: tuple[str, ...] = ()
    out: Path | None = None
    tracking: str = ""
    device: Literal["cpu", "cuda"] | None = None

    @property
    def run_folder(self) -> str:
        """The run's folder, absolute; of a checkpoint, the one that holds checkpoints/."""
        run = self.run or self.checkpoint.rpartition("/")[0].rpartition("/")[0] or ".."
        return run.rstrip("/") if "://" in run else str(Path(run).absolute())

    @property
    def out_folder(self) -> Path:
        root = Path.cwd() if "://" in self.run_folder else Path(self.run_folder)
        return self.out or root / "evaluation" / self.split


def open_model(arguments: Arguments) -> tuple[Reconstructor, Recipe]:
    """The model, and its recipe with the overrides; they may change how it is measured, not what it is."""
    if bool(arguments.run) == bool(arguments.checkpoint):
        raise ConfigError("neither or both of --run and --checkpoint are given", "give exactly one of them")
    for text in arguments.overrides:
        if not text.startswith(("evaluation.", "data.")):
            raise ConfigError(f"{text} cannot change a trained model", "override evaluation.* or data.* only")
    if arguments.run:
        model = Reconstructor.of_run(arguments.run, arguments.device)
    else:
        model = Reconstructor.open(arguments.checkpoint, arguments.device)
    return model, tree.override(model.recipe, arguments.overrides)


def write_results(report: EvaluationReport, panels: Sequence[Panel], folder: Path) -> list[Path]:
    """Files of an evaluation; returns those written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "scores.json"]
    written[0].write_text(report.to_json())
    if panels:
        Image.fromarray(stack_panels(panels)).save(folder / "panels.png")
        write_animation(turntable(panels[0].mesh), folder / "turntable.gif")
        scores = {row["id"]: row for row in report.object_rows() if row["method"] == MODEL}
        rows = [_viewer_row(panel, report.main_metric, scores[panel.id]) for panel in panels]
        write_viewer(rows, folder / "viewer.html", "Evaluation", report.split)
        written += [folder / "panels.png", folder / "turntable.gif", folder / "viewer.html"]
    return written


def _viewer_row(panel: Panel, metric: str, scores: Mapping[str, Any]) -> ViewerRow:
    return ViewerRow(
        panel.id,
        [ViewerImage("Input", panel.source)],
        [ViewerShape("Reconstruction", None if panel.mesh.is_empty else panel.mesh, problem="no surface")],
        panel.camera,
        f"{metric} {scores[metric]:.3f}" if metric in scores else "",
    )


def track(arguments: Arguments, report: EvaluationReport, files: Sequence[Path], step: int) -> str:
    """Log to the MLflow run of the training (it is found by the run's folder); returns the store's address."""
    tracker = open_run_tracker(arguments.run_folder, arguments.tracking)
    tracker.log_metrics(report.metrics(), step)
    tracker.log_table(f"evaluation/{report.split}/objects", report.object_rows())
    tracker.log_table(f"evaluation/{report.split}/summary", report.summary_rows())
    for path in files:
        tracker.log_artifact(path, f"evaluation/{report.split}")
    tracker.finish()
    return tracker.uri


def main(arguments: Arguments, console: Console) -> None:
    """Evaluate, with progress, and print what came of it."""
    model, recipe = open_model(arguments)
    dataset = ShardedDataset.open(arguments.data)
    config = recipe.evaluation
    console.print(f"[bold]{model.where}[/] ({recipe.name}) on {arguments.split} of {dataset.uri}, {model.device}")
    unknown = set(arguments.panels_of) - {entry.id for entry in dataset.entries(arguments.split)}
    if unknown:
        raise ConfigError(
            f"{', '.join(sorted(unknown))}: not in split {arguments.split} of {dataset.uri}",
            "name objects as worst cases and jobs/inspect_data.py do",
        )
    panels: list[Panel] = []

    def keep_panel(found: Reconstruction) -> None:
        shown = {panel.id.rpartition("#")[0] for panel in panels}
        name = found.id.rpartition("#")[0]
        wanted = name in arguments.panels_of if arguments.panels_of else len(panels) < config.panels
        if wanted and name not in shown:
            assert isinstance(found.shape, Mesh)
            panels.append(panel_of(dataset, model.family.request, found, found.shape))

    with progress_bar(console, "samples") as bar:
        if config.baselines:
            bar.say("preparing the baselines: what the training set alone would answer")
        report = evaluate(
            model.family, dataset, arguments.split, config, recipe.data, recipe.seed, bar.show, keep_panel
        )
    files = write_results(report, panels, arguments.out_folder)
    console.print(score_table(report), category_table(report), worst_table(report))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if report.num_empty:
        console.print(f"{report.num_empty} reconstructions have no surface; they count as the worst", style="yellow")
    console.print(f"{report.seconds:.2f} s a sample; wrote {', '.join(str(path) for path in files)}", soft_wrap=True)
    if arguments.tracking != "none":
        step = int(Path(model.where).stem.rpartition("-")[2])
        console.print(f"logged to {track(arguments, report, files, step)}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_job(Arguments, main, __doc__))
