"""The one loop over held-out samples: eval mode, this rank's batches, scores of all ranks by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

from raylift.core import collectives
from raylift.core.model import Model
from raylift.core.types import Batch


@contextmanager
def eval_mode(model: Model) -> Iterator[torch.device]:
    """Within, the model is in eval mode and nothing is recorded for gradients; gives the model's device."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        model.train(was_training)


def over_samples(
    model: Model, batches: Iterable[Batch], score: Callable[[Batch], list[dict[str, float]]]
) -> dict[str, dict[str, float]]:
    """Scores of every sample of all ranks, by sample.

    Every rank calls it with its own share (which may be empty); all get the same, whatever the split: scores are
    gathered by sample id, so a sample that two ranks were given counts once.

    Args:
        model: put into eval mode, and back.
        batches: this rank's.
        score: of a batch on the model's device: one row of scores per sample.
    """
    own: dict[str, dict[str, float]] = {}
    with eval_mode(model) as device:
        for batch in batches:
            own.update(zip(batch.ids, score(batch.to(device)), strict=True))
    return {name: value for share in collectives.gather_objects(own) for name, value in share.items()}
