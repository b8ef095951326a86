"""Refusing what does not fit in memory, before it is allocated."""

from __future__ import annotations

import psutil
import torch

from raylift.core.errors import ConfigError


def refuse_too_large(num_bytes: int, what: str, device: torch.device | str = "cpu") -> None:
    """Raise if ``num_bytes`` are more than the device has free.

    Args:
        num_bytes: bytes about to be allocated.
        what: name of the thing, such as "a 512^3 grid of 8 shapes".
        device: CPU or CUDA device; others are not checked.

    Raises:
        ConfigError: too large; the message names both sizes.
    """
    free = free_bytes(device)
    if free is not None and num_bytes > free:
        raise ConfigError(
            f"{what} needs {num_bytes:,d} bytes; {free:,d} are free on {device}",
            "use a lower resolution, fewer channels, a smaller batch, or representation=triplane",
        )


def free_bytes(device: torch.device | str = "cpu") -> int | None:
    """Bytes that can still be allocated; None if that is unknown."""
    device = torch.device(device)
    if device.type == "cuda":
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + reusable
    return int(psutil.virtual_memory().available) if device.type == "cpu" else None
