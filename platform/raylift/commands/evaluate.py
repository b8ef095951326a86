"""Evaluate a trained model on held-out objects: mean and median of every protocol that the data set supports, next to
simple baselines.

    raylift evaluate --run runs/demo/implicit-quick --data runs/demo/data
    raylift evaluate --run s3://bucket/runs/chairs --data data/seats --split val evaluation.resolution=128
    raylift evaluate --checkpoint runs/seats/checkpoints/step-00000500.pt --data data/seats --tracking none
    raylift evaluate --data data/seats --export-images images
    raylift evaluate --meshes outputs --data data/seats

Writes scores.json (everything), panels.png, turntable.gif, viewer.html and meshes, prints the tables, and logs all of
it to the run in MLflow. A model that recognises objects is scored by class, pose and outlines; its pictures are
panels.png and worst.png.

--meshes scores what any other program made of the images that --export-images wrote: a mesh is named like its image
(or like its object). Outputs and baselines alike are turned, scaled and moved to fit the truth (evaluation.align=none
takes them as they are), and the protocol "gso" is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from raylift.config import tree
from raylift.config.recipe import Recipe
from raylift.console import progress_bar
from raylift.core.errors import ConfigError
from raylift.data.feed.image_export import export_images
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.images.recognition_tables import recognition_tables
from raylift.evaluation.tables import category_table, score_tables, worst_table
from raylift.runs.evaluate import Evaluated, track_evaluation
from raylift.runs.evaluate_trained import evaluate_trained
from raylift.runs.referee import evaluate_meshes, referee_recipe
from raylift.runs.trained_model import TrainedModel


@dataclass(frozen=True)
class Arguments:
    """Evaluate a trained model on held-out objects.

    Attributes:
        data: prepared data set: a folder or s3://.
        run: folder of a run, local or s3://; its best checkpoint is used.
        checkpoint: path of a checkpoint, .../step-NNNNNNNN.pt.
        meshes: folder of another program's meshes to score, instead of a model.
        allow_missing: whether samples without a mesh count as the worst; otherwise they are an error.
        export_images: folder to write the split's images, cameras and depths to, instead of an evaluation.
        split: split to evaluate.
        panels_of: ids of objects to draw; by default the first evaluation.panels of the split.
        out: folder of the results; by default evaluation/SPLIT in the run's folder, or in the current one for s3:// and
            given meshes.
        tracking: MLflow tracking URI; by default the one that training used; "none" disables tracking.
        device: cpu or cuda; by default a GPU if available.
        overrides: values of evaluation and data, as path=value.
    """

    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    run: str = ""
    checkpoint: str = ""
    meshes: Path | None = None
    allow_missing: bool = False
    export_images: Path | None = None
    split: Literal["train", "val", "test"] = "test"
    panels_of: tuple[str, ...] = ()
    out: Path | None = None
    tracking: str = ""
    device: Literal["cpu", "cuda"] | None = None

    @property
    def run_folder(self) -> str:
        """The run's folder, absolute; for a checkpoint, the folder that holds checkpoints/."""
        run = self.run or self.checkpoint.rpartition("/")[0].rpartition("/")[0] or ".."
        return run.rstrip("/") if "://" in run else str(Path(run).absolute())

    @property
    def out_folder(self) -> Path:
        root = Path.cwd() if self.meshes is not None or "://" in self.run_folder else Path(self.run_folder)
        return self.out or root / "evaluation" / self.split


def check_arguments(arguments: Arguments) -> None:
    """Check that one thing is asked for, and that overrides change nothing but the evaluation.

    Raises:
        ConfigError: otherwise.
    """
    given = (arguments.run, arguments.checkpoint, arguments.meshes, arguments.export_images)
    if sum(one not in ("", None) for one in given) != 1:
        raise ConfigError(
            "not exactly one of --run, --checkpoint, --meshes and --export-images is given", "give exactly one of them"
        )
    if arguments.allow_missing and arguments.meshes is None:
        raise ConfigError("--allow-missing without --meshes", "leave it out")
    for text in arguments.overrides:
        if not text.startswith(("evaluation.", "data.")):
            raise ConfigError(f"{text} cannot change a trained model", "override evaluation.* or data.* only")


def open_model(arguments: Arguments) -> tuple[TrainedModel, Recipe]:
    """The model, and its recipe with the overrides, which may change the evaluation but not the model."""
    if arguments.run:
        model = TrainedModel.of_run(arguments.run, arguments.device)
    else:
        model = TrainedModel.open(arguments.checkpoint, arguments.device)
    return model, tree.override(model.recipe, arguments.overrides)


def main(arguments: Arguments, console: Console) -> None:
    """Evaluate with progress, and print the results."""
    check_arguments(arguments)
    dataset = ShardedDataset.open(arguments.data)
    if arguments.export_images is not None:
        data = tree.override(referee_recipe(), arguments.overrides).data
        written = export_images(dataset, arguments.split, data, arguments.export_images)
        console.print(f"wrote {len(written)} images with cameras and depths to {arguments.export_images}")
        return
    if arguments.meshes is not None:
        score_meshes(arguments, arguments.meshes, dataset, console)
        return
    model, recipe = open_model(arguments)
    config = recipe.evaluation
    console.print(f"[bold]{model.where}[/] ({recipe.name}) on {arguments.split} of {dataset.uri}, {model.device}")
    with progress_bar(console, "samples") as bar:
        if config.baselines:
            bar.say("preparing the baselines from the training set")
        evaluated = evaluate_trained(
            model, recipe, dataset, arguments.split, arguments.out_folder, arguments.panels_of, bar.show
        )
    print_report(console, evaluated)
    if arguments.tracking != "none":
        step = int(Path(model.where).stem.rpartition("-")[2])
        where = track_evaluation(arguments.run_folder, arguments.tracking, evaluated, dataset, step)
        console.print(f"logged to {where}", soft_wrap=True)


def score_meshes(arguments: Arguments, meshes: Path, dataset: ShardedDataset, console: Console) -> None:
    """Score a folder of meshes, and print the results; they belong to no run, so nothing is tracked."""
    recipe = tree.override(referee_recipe(), arguments.overrides)
    console.print(f"[bold]{meshes}[/] on {arguments.split} of {dataset.uri}, aligned by: {recipe.evaluation.align}")
    with progress_bar(console, "samples") as bar:
        evaluated = evaluate_meshes(
            meshes,
            recipe,
            dataset,
            arguments.split,
            arguments.out_folder,
            arguments.panels_of,
            arguments.allow_missing,
            bar.show,
        )
    print_report(console, evaluated)


def print_report(console: Console, evaluated: Evaluated) -> None:
    """The tables, the notes, and the paths of what was written."""
    report = evaluated.report
    plain = [*score_tables(report), category_table(report), worst_table(report)]
    console.print(*(recognition_tables(report) or plain))
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if report.num_empty:
        console.print(f"{report.num_empty} reconstructions have no surface; they count as the worst", style="yellow")
    console.print(
        f"{report.seconds:.2f} s/sample; wrote {', '.join(str(path) for path, _ in evaluated.files)}", soft_wrap=True
    )
