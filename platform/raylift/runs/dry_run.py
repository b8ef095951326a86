"""What a training would do and cost, found without starting it: everything is checked that needs no cluster."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from raylift.config.recipe import Recipe
from raylift.core.model import ObjectRecogniser, ReconstructionModel
from raylift.data.feed.stream import SampleStream, chosen_entries, dataset_info, evaluation_views
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.kinds import evaluation_of
from raylift.models.catalogue import build_model
from raylift.runs.train import absolute, check_before_start, checked_name
from raylift.runs.worker import RunPaths, checkpoint_store


@dataclass(frozen=True)
class RunEstimate:
    """A run's cost in counts.

    Attributes:
        num_steps: optimizer steps of the whole run.
        done_steps: steps that a checkpoint of the same run has already done.
        batch_size: samples per step, over all workers.
        num_objects: training objects.
        num_evaluations: evaluations of the validation split in the steps that are left.
        num_validated: samples per evaluation; 0 if the data set has no validation objects.
        num_parameters: parameters of the model.
    """

    num_steps: int
    done_steps: int
    batch_size: int
    num_objects: int
    num_evaluations: int
    num_validated: int
    num_parameters: int

    @property
    def num_samples(self) -> int:
        """Training samples that are left."""
        return (self.num_steps - self.done_steps) * self.batch_size

    @property
    def num_epochs(self) -> float:
        """Passes over the training set, of the whole run."""
        return self.num_steps * self.batch_size / self.num_objects


def estimate_run(
    recipe: Recipe, data_uri: str | Path, storage_path: str | Path, run_name: str, planned: Collection[str] = ()
) -> RunEstimate:
    """Check a run as its start would, and count its steps and samples; nothing is written.

    Args:
        data_uri: a prepared data set, local or s3://.
        storage_path: folder of runs.
        run_name: name of the run.
        planned: runs that earlier stages of the same command would make; one that ``start_from`` names may be missing.

    Raises:
        RayliftError: the data, a checkpoint or the starting weights do not fit the recipe.
    """
    place = RunPaths(absolute(data_uri), absolute(storage_path), checked_name(run_name))
    start = absolute(recipe.start_from) if recipe.start_from else ""
    promised = start in {f"{place.storage.rstrip('/')}/{name}" for name in planned}
    checked = replace(recipe, start_from="" if promised and not checkpoint_store(recipe, place).last() else start)
    check_before_start(checked, place)
    dataset = ShardedDataset.open(place.data)
    model = build_model(recipe, dataset_info(dataset, recipe.data))
    stream = SampleStream(dataset, model.request, recipe.data, recipe.seed)
    validated = _num_validated(recipe, dataset)
    if isinstance(model, ObjectRecogniser):
        validated = min(validated, recipe.evaluation.validation_images or validated)
    elif validated and isinstance(model, ReconstructionModel):
        evaluation_of(dataset).check_best_metric(recipe.schedule.best_metric)
    num_steps = recipe.schedule.num_steps or stream.num_steps(recipe.schedule.num_epochs)
    last = checkpoint_store(recipe, place).last()
    done = min(last.step, num_steps) if last is not None else 0
    return RunEstimate(
        num_steps=num_steps,
        done_steps=done,
        batch_size=recipe.data.batch_size,
        num_objects=stream.num_objects,
        num_evaluations=_num_due(recipe.schedule.eval_every, done, num_steps) if validated else 0,
        num_validated=validated,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _num_validated(recipe: Recipe, dataset: ShardedDataset) -> int:
    if not dataset.entries("val", recipe.data.categories):
        return 0
    entries = chosen_entries(dataset, "val", recipe.data)
    return sum(len(evaluation_views(entry, recipe.data.eval_views)) for entry in entries)


def _num_due(every: int, start: int, stop: int) -> int:
    """How often something happens in steps (start, stop]: every so many, and at the end."""
    if start >= stop:
        return 0
    return 1 if not every else -(-stop // every) - start // every
