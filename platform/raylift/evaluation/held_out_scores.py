"""Validation scores of models that do not reconstruct."""

from __future__ import annotations

from collections.abc import Iterable

from raylift.core.model import Model
from raylift.core.types import Batch
from raylift.evaluation.samples import over_samples
from raylift.metrics.scores import mean_of


def validate_scores(model: Model, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """The mean of each of ``Model.scores`` over all ranks' samples.

    Every rank calls it with its own share (which may be empty); all return the same numbers, however the samples are
    shared: scores are gathered by sample id, so a sample given to two ranks counts once.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        batches: batches with the fields of ``Model.request``.
        prefix: prefix of the names ``val/<score>`` and ``val/samples``.
    """

    def score(batch: Batch) -> list[dict[str, float]]:
        scores = {name: values.tolist() for name, values in model.scores(batch).items()}
        return [{name: values[row] for name, values in scores.items()} for row in range(len(batch))]

    everyone = over_samples(model, batches, score)
    names = list(dict.fromkeys(name for scores in everyone.values() for name in scores))
    means = {
        f"{prefix}/{name}": mean_of([everyone[sample][name] for sample in sorted(everyone) if name in everyone[sample]])
        for name in names
    }
    return means | {f"{prefix}/samples": float(len(everyone))}
