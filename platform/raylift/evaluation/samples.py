"""The loop over held-out samples: eval mode, this rank's batches, scores of all ranks by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from raylift.core import collectives
from raylift.core.model import Model
from raylift.core.types import Batch

T = TypeVar("T")


@contextmanager
def eval_mode(model: Model) -> Iterator[torch.device]:
    """Context with the model in eval mode and gradients disabled; yields the model's device."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield next(model.parameters()).device
    finally:
        model.train(was_training)


def over_samples(
    model: Model,
    batches: Iterable[Batch],
    score: Callable[[Batch], Iterable[T]],
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, T]:
    """What ``score`` finds for every sample of all ranks, by sample.

    Every rank calls it with its own share (which may be empty); all return the same, however the samples are shared:
    scores are gathered by sample id, so a sample given to two ranks counts once.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        batches: this rank's batches.
        score: yields one result per sample, for a batch on the model's device. A generator is run sample by sample.
        progress: called after each of this rank's samples with (samples done, id).
    """
    own: dict[str, T] = {}
    done = 0
    with eval_mode(model) as device:
        for batch in batches:
            for sample, found in zip(batch.ids, score(batch.to(device)), strict=True):
                own[sample], done = found, done + 1
                if progress is not None:
                    progress(done, sample)
    return {name: value for share in collectives.gather_objects(own) for name, value in share.items()}
