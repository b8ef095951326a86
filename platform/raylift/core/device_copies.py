"""Copies from host memory that do not make the host wait for the GPU, and numbers that both sides know.

A plain copy to a CUDA device waits until all queued work is done, and so does reading a number back. A copy from pinned
memory is queued like a kernel, and a number that the host keeps need not be read back.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ON_HOST = "_raylift_numbers"


def upload(host: Tensor, device: torch.device | str) -> Tensor:
    """A host tensor on a device; on CUDA through pinned memory, in order with the current stream, without waiting.

    Args:
        host: any shape; on the CPU. It is returned itself if the device is the CPU.
    """
    target = torch.device(device)
    if target.type != "cuda" or host.device.type == "cuda":
        return host.to(target)
    return host.pin_memory().to(target, non_blocking=True)


def upload_numbers(numbers: Tensor, device: torch.device | str) -> Tensor:
    """``upload`` for integers that host code will ask for again, by ``numbers_of``: [N] int64."""
    moved = upload(numbers, device)
    if moved is not numbers:
        setattr(moved, _ON_HOST, numbers_of(numbers))
    return moved


def numbers_of(values: Tensor) -> list[int]:
    """The integers of a tensor [N]; read from its device only if ``upload_numbers`` did not put them there."""
    kept: list[int] | None = getattr(values, _ON_HOST, None)
    return [int(value) for value in values.tolist()] if kept is None else kept
