"""Copies from host memory that do not make the host wait for the GPU, and values that both sides know.

A plain copy to a CUDA device waits until all queued work is done, and so does reading a number back. A copy from pinned
memory is queued like a kernel, and a value that the host keeps need not be read back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from raylift.core.errors import DataError

_ON_HOST = "_raylift_on_host"


def upload(host: Tensor, device: torch.device | str) -> Tensor:
    """A host tensor on a device; on CUDA through pinned memory, in order with the current stream, without waiting.

    Args:
        host: any shape; on the CPU. It is returned itself if the device is the CPU.
    """
    target = torch.device(device)
    if target.type != "cuda" or host.device.type == "cuda":
        return host.to(target)
    return host.pin_memory().to(target, non_blocking=True)


def upload_known(host: Tensor, device: torch.device | str) -> Tensor:
    """``upload``, for values that host code will ask for again, by ``on_host`` or ``numbers_of``."""
    moved = upload(host, device)
    if moved is not host:
        setattr(moved, _ON_HOST, host)
    return moved


def on_host(values: Tensor) -> Tensor:
    """A tensor's values on the CPU; read from its device only if ``upload_known`` did not put them there."""
    kept: Tensor | None = getattr(values, _ON_HOST, None)
    return values.cpu() if kept is None else kept


def numbers_of(values: Tensor) -> list[int]:
    """The integers of a tensor [N] (``on_host``)."""
    return [int(value) for value in on_host(values).tolist()]


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """``like.new_tensor(values)`` without waiting for the device."""
    return upload(torch.tensor(values, dtype=like.dtype), like.device)


def require(is_right: Tensor, problem: str, remedy: str) -> None:
    """Stop unless all is right: at once on a CPU; on a GPU by its own assertion, which is seen later.

    Args:
        is_right: bool, any shape.

    Raises:
        DataError: on a CPU. A GPU's assertion ends the process with the problem's text.
    """
    if is_right.device.type == "cuda":
        torch._assert_async(is_right.all(), f"{problem}: {remedy}")
    elif not bool(is_right.all()):
        raise DataError(problem, remedy)
