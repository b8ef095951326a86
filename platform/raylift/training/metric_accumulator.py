"""Metrics of a window of steps, summed on the device and reduced over ranks when they are logged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from raylift.core.collectives import global_sum, is_main
from raylift.core.errors import TrainingError


class MetricAccumulator:
    """Sums and counts by name; nothing leaves the device, and no rank waits for another, until ``flush``.

    ``add_share`` takes values that are each rank's share of a global value (they add up over ranks), ``add_same``
    values that are the same on every rank. All ranks must add the same names in the same order.
    """

    def __init__(self, device: torch.device) -> None:
        # Float64, so that a window's mean does not depend on where a checkpoint cut it.
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._sources: dict[str, str] = {}

    def add_share(self, name: str, share: Tensor | float, source: str = "") -> None:
        """Add this rank's share of one step's value.

        Raises:
            TrainingError: two sources (phases) use one name.
        """
        if self._sources.setdefault(name, source) != source:
            raise TrainingError(
                f"phases {self._sources[name]!r} and {source!r} both have a term {name!r}", "name terms uniquely"
            )
        value = self._float64(share)
        self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._counts[name] = self._counts.get(name, 0) + 1

    def add_same(self, name: str, value: Tensor | float) -> None:
        """Add one step's value that is the same on every rank: counted once, on rank 0."""
        self.add_share(name, value if is_main() else 0.0)

    def _float64(self, value: Tensor | float) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().to(self._device, torch.float64)
        # Filled on the device: a copy from the host would wait for it.
        return torch.full((), value, dtype=torch.float64, device=self._device)

    def flush(self) -> dict[str, float]:
        """The means over the steps since the last flush, the same on every rank; starts a new window."""
        names = list(self._sums)
        if not names:
            return {}
        totals = global_sum(torch.stack([self._sums[name] for name in names])).tolist()
        means = {name: total / self._counts[name] for name, total in zip(names, totals, strict=True)}
        self._sums.clear()
        self._counts.clear()
        return means

    def fold(self) -> dict[str, tuple[float, int]]:
        """The window so far, for a checkpoint: (sum over ranks, count) by name, the same on every rank.

        The sums move to rank 0, as after ``restore``, so that an uninterrupted run and a resumed one add the same
        numbers in the same order.
        """
        names = list(self._sums)
        if not names:
            return {}
        totals = global_sum(torch.stack([self._sums[name] for name in names])).tolist()
        window = {name: (float(total), self._counts[name]) for name, total in zip(names, totals, strict=True)}
        self.restore(window)
        return window

    def restore(self, window: Mapping[str, tuple[float, int]]) -> None:
        """Restore a window that ``fold`` returned."""
        self._counts = {name: int(count) for name, (_, count) in window.items()}
        self._sums = {
            name: torch.tensor(total if is_main() else 0.0, dtype=torch.float64, device=self._device)
            for name, (total, _) in window.items()
        }
