"""The scores that training watches of models that reconstruct nothing."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from raylift.core import collectives
from raylift.core.model import Model
from raylift.core.types import Batch
from raylift.metrics.scores import mean_of


@torch.no_grad()
def validate_scores(model: Model, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
    """The mean of each of ``Model.scores`` over all ranks' samples.

    Every rank calls it with its own share (which may be empty); all get the same numbers, whatever the split: scores
    are gathered by sample id, so a sample that two ranks were given counts once.

    Args:
        model: put into eval mode, and back.
        batches: what ``Model.request`` asks for.
        prefix: of the names: ``val/<score>`` and ``val/samples``.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    own: dict[str, dict[str, float]] = {}
    try:
        for batch in batches:
            for name, values in model.scores(batch.to(device)).items():
                own.setdefault(name, {}).update(zip(batch.ids, values.tolist(), strict=True))
    finally:
        model.train(was_training)
    merged: dict[str, dict[str, float]] = {}
    for share in collectives.gather_objects(own):
        for name, scores in share.items():
            merged.setdefault(name, {}).update(scores)
    means = {
        f"{prefix}/{name}": mean_of([scores[sample] for sample in sorted(scores)]) for name, scores in merged.items()
    }
    return means | {f"{prefix}/samples": float(max((len(scores) for scores in merged.values()), default=0))}
