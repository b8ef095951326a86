"""One training worker: connects data, model, evaluation, tracking and storage to the loop."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raylift.config.recipe import Recipe, node_labels
from raylift.core import collectives
from raylift.core.errors import RayliftError
from raylift.core.generators import stable_hash
from raylift.core.model import ImageTextMatcher, Model, ObjectRecogniser, ReconstructionModel
from raylift.core.precision import flushed_subnormals
from raylift.core.redaction import redacted
from raylift.core.types import Batch, SampleRequest
from raylift.data.feed.examples import load_examples
from raylift.data.feed.pipeline import ray_batches
from raylift.data.feed.read_ahead import with_own_caches
from raylift.data.feed.stream import SampleStream, chosen_entries, dataset_info, evaluation_batches
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.alarms import AlarmBell
from raylift.evaluation.held_out_scores import validate_scores
from raylift.evaluation.images.recognition import first_recognised
from raylift.evaluation.images.recognition_panels import recognition_panel
from raylift.evaluation.images.recognition_validation import RecognitionValidation
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.panels import draw_panels, stack_panels
from raylift.evaluation.retrieval import KnownImages, known_images, validate_retrieval
from raylift.export.mesh_files import file_stem, write_mesh
from raylift.models.catalogue import build_model
from raylift.runs.start import init_from_run
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.provenance import provenance_tags
from raylift.tracking.tracker import MemoryTracker, Tracker
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import BatchSource, FitOutcome, Hooks, RunProgress, fit
from raylift.training.plan import FitPlan, RunIdentity

CHECKPOINTS = "checkpoints"
TRACKING = "tracking"
MOST_KNOWN_IMAGES = 2000
"""Training images among which the retrieval baseline looks for the nearest one; they are read when a run starts."""


@dataclass(frozen=True)
class RunPaths:
    """Where a run reads and writes; all absolute, since workers have their own current folders.

    Attributes:
        data: the prepared data set.
        storage: folder of runs, local or s3://.
        name: run name; a run with the same name and storage is resumed.
        tracking: MLflow tracking URI; "" disables tracking.
        experiment: MLflow experiment.
        parent_run_id: MLflow id of the parent run, for a sweep's runs.
    """

    data: str
    storage: str
    name: str
    tracking: str = ""
    experiment: str = "raylift"
    parent_run_id: str = ""

    @property
    def folder(self) -> str:
        return f"{self.storage.rstrip('/')}/{self.name}"

    @property
    def checkpoints(self) -> str:
        return f"{self.folder}/{CHECKPOINTS}"

    @property
    def spool(self) -> Path:
        """Folder of the records not yet sent to MLflow: in a local run's folder, else on the node."""
        if "://" not in self.folder:
            return Path(self.folder) / TRACKING
        return Path(tempfile.gettempdir()) / "raylift-tracking" / f"{self.name}-{stable_hash(self.folder):x}"

    @property
    def run_key(self) -> str | None:
        """Key that finds the MLflow run from another machine. A local run needs none, since its spool is in its folder;
        without a key, a run that was deleted and trained again under its old name is a new MLflow run."""
        return f"{stable_hash(self.folder):x}" if "://" in self.folder else None


def checkpoint_store(recipe: Recipe, place: RunPaths) -> CheckpointStore:
    """The store of a run's checkpoints."""
    schedule = recipe.schedule
    return CheckpointStore(place.checkpoints, schedule.keep_last, schedule.best_metric, schedule.best_is)


def mlflow_run(place: RunPaths, **settings: Any) -> MlflowTracker:
    """A tracker for the run's MLflow run, from any process."""
    return MlflowTracker(
        place.tracking,
        place.experiment,
        place.name,
        place.spool,
        run_key=place.run_key,
        parent_run_id=place.parent_run_id or None,
        **settings,
    )


def open_tracker(recipe: Recipe, place: RunPaths, dataset: ShardedDataset) -> Tracker:
    """The run's tracker, with parameters, tags and data set logged; for rank 0."""
    if not place.tracking:
        return MemoryTracker()
    tracker = mlflow_run(place)
    manifest = dataset.manifest
    tracker.log_params(recipe.flat())
    tracker.set_tags(
        {
            **provenance_tags(),
            "recipe": recipe.name,
            "recipe.fingerprint": recipe.fingerprint,
            "model": recipe.model_name,
            "run.folder": place.folder,
            "data.uri": dataset.uri,
            "data.fingerprint": manifest.fingerprint,
        }
    )
    tracker.log_dataset(Path(dataset.uri).name, dataset.uri, manifest.fingerprint, manifest.counts)
    return tracker


@flushed_subnormals()
def train_worker(
    recipe: Recipe,
    place: RunPaths,
    device: torch.device,
    report: Callable[[RunProgress], None] | None = None,
    through_ray: bool = True,
    num_loaders: int = 1,
) -> FitOutcome:
    """Train on this rank; every rank of the run calls it, inside its process group.

    Args:
        report: called on every rank, as ``Hooks.on_progress``.
        through_ray: whether Ray Data loads the batches; otherwise this process does.
        num_loaders: Ray actors that load for this rank.
    """
    dataset = ShardedDataset.open(place.data, check_sizes=False)  # the driver has checked them
    info = dataset_info(dataset, recipe.data)
    model = build_model(recipe, info)
    if model.example_request is not None:
        model.keep_examples(load_examples(dataset, recipe.data, model.example_request))
    stream = SampleStream(dataset, model.request, recipe.data, recipe.seed)
    num_steps = recipe.schedule.num_steps or stream.num_steps(recipe.schedule.num_epochs)
    # Refuse here, on every rank, rather than at the feed's first batch.
    stream.rows_of(0, collectives.rank(), collectives.world_size())
    tracker = open_tracker(recipe, place, dataset) if collectives.is_main() else None
    try:
        outcome = fit(
            model,
            _feed(stream, recipe, num_loaders if through_ray else 0),
            FitPlan(
                recipe.optimizers,
                recipe.schedule,
                num_steps,
                epoch_of=stream.epoch_of,
                seed=recipe.seed,
                checkpoints=checkpoint_store(recipe, place),
                identity=RunIdentity(recipe.to_dict(), recipe.free_paths, dataset.manifest.fingerprint, info.to_dict()),
                init_fn=partial(init_from_run, recipe=recipe) if recipe.start_from else None,
                device=device,
                bf16=uses_bfloat16(recipe, device),
                batch_size=recipe.data.batch_size,
            ),
            Hooks(
                evaluate=_evaluation(dataset, model, recipe, tracker),
                draw=_drawing(dataset, model, recipe, tracker),
                on_progress=report,
                tracker=tracker,
            ),
        )
    except RayliftError:
        if tracker is not None:
            tracker.finish("FAILED")
        raise
    if tracker is not None:
        tracker.finish("FINISHED")
    return outcome


def uses_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16 autocast."""
    precision = recipe.scale.precision
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def _feed(stream: SampleStream, recipe: Recipe, num_loaders: int) -> BatchSource:
    """This rank's batches, from so many Ray actors; without any, this process makes them."""
    rank, world, scale = collectives.rank(), collectives.world_size(), recipe.scale
    if not stream.dataset.storage.is_local or num_loaders:
        stream = with_own_caches(stream, num_loaders, scale.cache_gib, scale.cache_folder)
    if not num_loaders:
        return lambda start, stop: stream.batches(rank, world, start, stop)
    return lambda start, stop: ray_batches(
        stream,
        rank,
        world,
        start,
        stop,
        num_loaders=num_loaders,
        cpus_per_loader=scale.data_cpus,
        prefetch=scale.prefetch_steps,
        node_labels=node_labels(scale.feed_on),
    )


def _evaluation(
    dataset: ShardedDataset, model: Model, recipe: Recipe, tracker: Tracker | None
) -> Callable[[Model, int], Mapping[str, float]] | None:
    """The validation scores over all workers' shares; None if the data set has no validation objects.

    Raises:
        ConfigError: the metric that chooses checkpoints is not among those scores.
    """
    if not dataset.entries("val", recipe.data.categories):
        return None
    if isinstance(model, ImageTextMatcher):
        return partial(_retrieval_scores, dataset, recipe, _known_images(dataset, recipe, model))
    if isinstance(model, ObjectRecogniser):
        return _recognition(dataset, model, recipe, tracker)
    if not isinstance(model, ReconstructionModel):
        return partial(_mean_scores, dataset, recipe)
    kind = evaluation_of(dataset)
    kind.check_best_metric(recipe.schedule.best_metric)
    validation = kind.validation(dataset, model.request, recipe.evaluation, recipe.data, recipe.seed)
    bell = AlarmBell()

    def evaluate(model: Model, done: int) -> Mapping[str, float]:
        assert isinstance(model, ReconstructionModel)
        batches = _shares(dataset, recipe, validation.request, "val")
        found = validation.scores(model, batches)
        _ring(bell, found, tracker, done)
        return found

    return evaluate


def _recognition(
    dataset: ShardedDataset, model: ObjectRecogniser, recipe: Recipe, tracker: Tracker | None
) -> Callable[[Model, int], Mapping[str, float]]:
    """The validation of a model that tells class, pose and outlines, whether or not it reconstructs, too."""
    validation = RecognitionValidation(dataset, model, recipe.evaluation, recipe.data, recipe.seed)
    validation.check_best_metric(recipe.schedule.best_metric)
    bell = AlarmBell()
    # By a hash: evenly spread over the ids, they could all have the same level of occlusion.
    entries = sorted(chosen_entries(dataset, "val", recipe.data), key=lambda entry: stable_hash(entry.id))
    entries = entries[: recipe.evaluation.validation_images or len(entries)]

    def evaluate(model: Model, done: int) -> Mapping[str, float]:
        assert isinstance(model, ObjectRecogniser)
        found = validation.scores(model, _shares(dataset, recipe, validation.request, "val", entries))
        _ring(bell, found, tracker, done)
        return found

    return evaluate


def _ring(bell: AlarmBell, found: Mapping[str, float], tracker: Tracker | None, done: int) -> None:
    """Tag the run with the alarms that start."""
    if tracker is not None:
        tracker.set_tags({name.replace("/", "."): f"from step {done}" for name in bell.news(found)})


def _retrieval_scores(
    dataset: ShardedDataset, recipe: Recipe, known: KnownImages, model: Model, done: int
) -> Mapping[str, float]:
    assert isinstance(model, ImageTextMatcher)
    batches = _shares(dataset, recipe, model.request, "val")
    return {**_mean_scores(dataset, recipe, model, done), **validate_retrieval(model, batches, known)}


def _known_images(dataset: ShardedDataset, recipe: Recipe, model: Model) -> KnownImages:
    """Training images for the baseline, evenly spread over the split."""
    entries = chosen_entries(dataset, "train", recipe.data)
    return known_images(
        _shares(dataset, recipe, model.request, "train", entries[:: math.ceil(len(entries) / MOST_KNOWN_IMAGES)])
    )


def _mean_scores(dataset: ShardedDataset, recipe: Recipe, model: Model, done: int) -> Mapping[str, float]:
    return validate_scores(model, _shares(dataset, recipe, model.request, "val"))


def _shares(
    dataset: ShardedDataset,
    recipe: Recipe,
    request: SampleRequest,
    split: str,
    entries: Sequence[ObjectEntry] | None = None,
) -> Iterator[Batch]:
    """This worker's share of a split, or of some of its entries, in batches of its training size."""
    rank, world = collectives.rank(), collectives.world_size()
    size = max(1, recipe.data.batch_size // world)
    return evaluation_batches(dataset, request, split, recipe.data, recipe.seed, rank, world, size, entries)


def _drawing(
    dataset: ShardedDataset, model: Model, recipe: Recipe, tracker: Tracker | None
) -> Callable[[Model, int], None] | None:
    """Logs panels and meshes of fixed held-out objects to a tracker that accepts images."""
    if not isinstance(tracker, MlflowTracker) or not recipe.evaluation.panels:
        return None
    held_out = next((split for split in ("val", "test") if dataset.entries(split, recipe.data.categories)), None)
    if held_out is None:
        return None
    split: str = held_out
    if isinstance(model, ObjectRecogniser):
        return partial(_draw_recognised, dataset, recipe, split, tracker)
    if not isinstance(model, ReconstructionModel):
        return None

    def draw(model: Model, done: int) -> None:
        assert isinstance(model, ReconstructionModel)
        panels = draw_panels(model, dataset, split, recipe.data, recipe.evaluation.panels, seed=recipe.seed)
        tracker.log_image("panels", stack_panels(panels), done)
        with tempfile.TemporaryDirectory() as folder:
            for number, panel in enumerate(panels):
                # An untrained field may have no surface yet; its panel shows that.
                if not panel.mesh.is_empty:
                    path = write_mesh(panel.mesh, Path(folder) / f"{number}-{file_stem(panel.id)}.glb")
                    tracker.log_artifact(path, f"meshes/step-{done:08d}")

    return draw


def _draw_recognised(
    dataset: ShardedDataset, recipe: Recipe, split: str, tracker: Tracker, model: Model, done: int
) -> None:
    assert isinstance(model, ObjectRecogniser)
    found = first_recognised(model, dataset, split, recipe.data, recipe.evaluation.panels, recipe.seed)
    tracker.log_image("panels", np.concatenate([recognition_panel(one, model.categories) for one in found]), done)


def describe(place: RunPaths, recipe: Recipe) -> dict[str, Any]:
    """Content of ``run.json``: what other jobs need to find everything about a run."""
    return {**asdict(place), "tracking": redacted(place.tracking), "recipe": recipe.to_dict()}
