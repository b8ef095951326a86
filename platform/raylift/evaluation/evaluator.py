"""Reconstruct held-out images and score the results together with simple baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Reconstruction
from raylift.data.feed.stream import chosen_entries, evaluation_batches
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.meshes import Solid
from raylift.evaluation.report import MODEL_METHOD, EvaluationReport, SampleScores, Tally
from raylift.evaluation.samples import eval_mode, over_samples
from raylift.evaluation.shapes.iso_level import LevelChoice, choose_level
from raylift.metrics.scores import Score

Progress = Callable[[int, int, str], None]
"""Called with (samples done, samples in total, id of the last), for this rank's share."""

DISN_VIEWS = 24


def evaluate(
    model: ReconstructionModel,
    dataset: ShardedDataset,
    split: str,
    config: EvaluationConfig,
    data: DataConfig,
    seed: int = 0,
    progress: Progress | None = None,
    on_sample: Callable[[Reconstruction, Solid], None] | None = None,
) -> EvaluationReport:
    """Every score for which the data set has ground truth, on every held-out sample; deterministic.

    Every rank of a process group evaluates its share of the samples, and all ranks return the same report.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        split: "val" or "test".
        seed: key of every draw, together with the object id.
        progress: progress callback, see ``Progress``.
        on_sample: callback with each reconstruction and its measured solid, for panels and files.

    Raises:
        DataError: no objects of that split, or a damaged shard.
    """
    scorer = evaluation_of(dataset).scorer(dataset, model.request, config, data, seed, split)
    rank, world = collectives.rank(), collectives.world_size()
    entries = chosen_entries(dataset, split, data)
    categories = {entry.id: entry.category for entry in entries}
    num_views = min(data.eval_views, *(entry.num_views for entry in entries))
    total = len(range(rank, sum(min(data.eval_views, entry.num_views) for entry in entries), world))
    request = scorer.request(model.request)

    def score(batch: Batch) -> Iterator[SampleScores]:
        for index, found in enumerate(model.reconstruct(batch)):
            sample = batch.ids[index]
            category = categories[sample.rpartition("#")[0]]
            start = time.perf_counter()
            solid = scorer.placed(sample, Solid(found.shape, config.resolution, choice.level if choice else 0.0))
            found = replace(found, id=sample, camera=found.camera.to("cpu"))
            rows = {MODEL_METHOD: scorer.score(sample, found, solid)}
            is_empty, seconds = solid.is_known_empty, time.perf_counter() - start
            rows |= scorer.score_baselines(sample, batch.select(slice(index, index + 1)).to("cpu"))
            if on_sample is not None:
                on_sample(found, solid)
            scores = {method: Score(sample, category, values) for method, values in rows.items()}
            yield SampleScores(scores, is_empty, seconds)

    with eval_mode(model):
        choice = _level(model, dataset, split, config, data, seed)
        scorer.prepare(model, split)
    everyone = over_samples(
        model,
        evaluation_batches(dataset, request, split, data, seed, rank, world),
        score,
        None if progress is None else lambda done, sample: progress(done, total, sample),
    )
    whole = Tally.of(everyone.values())
    scorer.finish(whole)
    notes = ([choice.note] if choice else []) + scorer.notes
    if any(metric.startswith("disn/") for metric in whole.table(MODEL_METHOD).metrics) and num_views != DISN_VIEWS:
        notes.append(f"disn: published figures average {DISN_VIEWS} views of an object, here {num_views}")
    return EvaluationReport(
        split,
        whole.tables,
        num_views,
        config.resolution,
        whole.num_empty,
        whole.seconds / max(1, len(whole.table(MODEL_METHOD))),
        tuple(notes),
        choice.level if choice else None,
    )


def _level(
    model: ReconstructionModel,
    dataset: ShardedDataset,
    split: str,
    config: EvaluationConfig,
    data: DataConfig,
    seed: int,
) -> LevelChoice | None:
    """The iso-level of fields; None if there are none."""
    if config.level != "auto":
        return LevelChoice(config.level)
    return choose_level(model, dataset, data, split, seed) if dataset.manifest.kind == "shapes" else None
