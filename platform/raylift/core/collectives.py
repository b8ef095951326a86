"""The only module that uses torch.distributed (law 1).

Everything also works without a process group, as a world of one. The rule: each rank's loss is its *share* of the
global loss, so that the shares sum to the loss of the global batch:

    share = local_sum / global_count(local_count)

DistributedDataParallel averages gradients, so the training step multiplies the share by the world size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from raylift.core.errors import RayliftError

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether a process group of more than one rank is up."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def is_main() -> bool:
    return rank() == 0


def global_sum(value: Tensor) -> Tensor:
    """The sum over ranks, without gradient; the input is unchanged."""
    total = value.detach().clone()
    if is_distributed():
        dist.all_reduce(total)
    return total


def global_max(value: Tensor) -> Tensor:
    """The maximum over ranks, without gradient; the input is unchanged."""
    top = value.detach().clone()
    if is_distributed():
        dist.all_reduce(top, op=dist.ReduceOp.MAX)
    return top


def global_count(local_count: Tensor | int | float, like: Tensor) -> Tensor:
    """The count summed over ranks, at least 1, with the device and dtype of ``like``."""
    dtype = torch.float64 if like.device.type == "cpu" else torch.float32
    if isinstance(local_count, Tensor):
        count = local_count.to(like.device, dtype)
    else:
        # Filled there: a copy from the host would wait for the device.
        count = torch.full((), local_count, dtype=dtype, device=like.device)
    return global_sum(count).clamp(min=1).to(like.dtype)


def global_number(local_count: int, like: Tensor) -> int:
    """The count summed over ranks, at least 1, on the host; one rank alone need not ask its device."""
    return int(global_count(local_count, like)) if is_distributed() else max(1, local_count)


def share_of_mean(values: Tensor) -> Tensor:
    """This rank's share of the mean of ``values`` over all ranks: local sum / global count.

    Args:
        values: any shape; the number of values may differ between ranks.
    """
    return values.sum() / global_count(values.numel(), values)


def share_of_weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """This rank's share of the weighted mean over all ranks: local sum of weighted values / global sum of weights.

    Args:
        values: any shape; the number of values may differ between ranks.
        weights: 0 or more, of the same shape, without gradient. A global sum below 1 is taken as 1.
    """
    return (weights * values).sum() / global_count(weights.sum(), values)


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums every rank's gradient with respect to this rank's rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts  # type: ignore[attr-defined]
        widest = max(counts)
        padded = rows.new_zeros((widest, *rows.shape[1:]))
        padded[: rows.shape[0]] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        counts: tuple[int, ...] = ctx.counts  # type: ignore[attr-defined]
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        start = sum(counts[: dist.get_rank()])
        return total[start : start + counts[dist.get_rank()]], None


def gather_rows(rows: Tensor) -> Tensor:
    """All ranks' rows, in rank order, differentiably: [B_local, ...] -> [B_global, ...]; B_local may differ."""
    if not is_distributed():
        return rows
    counts = torch.zeros(world_size(), dtype=torch.int64, device=rows.device)
    counts[rank()] = rows.shape[0]
    gathered: Tensor = _Gather.apply(rows, tuple(int(count) for count in global_sum(counts)))
    return gathered


def gather_objects(item: T) -> list[T]:
    """Every rank's picklable object, in rank order, on every rank; for a few small objects, such as scores."""
    if not is_distributed():
        return [item]
    items: list[T | None] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items  # type: ignore[return-value]


def from_main(make: Callable[[], T]) -> T:
    """What ``make`` returns on rank 0, on every rank: a file is read once, and not by all ranks at a time.

    Args:
        make: called on rank 0 only; what it returns can be pickled.

    Raises:
        RayliftError: ``make`` raised it, on every rank.
    """
    if not is_distributed():
        return make()
    told: list[tuple[T | None, RayliftError | None]] = [(None, None)]
    if is_main():
        try:
            told = [(make(), None)]
        except RayliftError as error:
            told = [(None, error)]
    dist.broadcast_object_list(told, src=0)
    value, error_of_main = told[0]
    if error_of_main is not None:
        raise error_of_main
    return value  # type: ignore[return-value]
