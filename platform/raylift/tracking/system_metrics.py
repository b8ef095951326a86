"""Load of the machine, sampled during a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import psutil
import torch

_GIB = 1024**3
_FIRST = "system/cpu_utilization_percentage"


class SystemMetrics:
    """A thread that reports CPU, memory, disk, network and GPU use under ``system/``, where MLflow's page expects it.

    Args:
        report: called with values by name and a step, the number of the sample.
        last_step: returns the highest step reported before for a metric, -1 for none, to continue counting on restart.
        every_s: seconds between samples; 0 starts nothing.
    """

    def __init__(
        self, report: Callable[[Mapping[str, float], int], None], last_step: Callable[[str], int], every_s: float
    ) -> None:
        self._report, self._last_step, self._every_s = report, last_step, every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if every_s > 0:
            self._thread = threading.Thread(target=self._sample_forever, name="system-metrics", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _sample_forever(self) -> None:
        step = self._last_step(_FIRST) + 1
        psutil.cpu_percent()  # the first call only starts the measurement
        before, then = psutil.net_io_counters(), time.monotonic()
        while not self._stop.wait(self._every_s):
            now, counters = time.monotonic(), psutil.net_io_counters()
            values = read_machine()
            if before is not None and counters is not None:
                moved = counters.bytes_sent + counters.bytes_recv - before.bytes_sent - before.bytes_recv
                values["system/network_mebibytes_per_s"] = moved / 2**20 / max(1e-9, now - then)
            before, then = counters, now
            self._report(values, step)
            step += 1


def read_machine() -> dict[str, float]:
    """One sample, with MLflow's names where it has one."""
    memory = psutil.virtual_memory()
    values = {
        _FIRST: psutil.cpu_percent(),
        "system/system_memory_usage_percentage": memory.percent,
        "system/system_memory_usage_gibibytes": memory.used / _GIB,
        "system/disk_usage_percentage": psutil.disk_usage("/").percent,
    }
    # Asking for a device would start CUDA in a process that may not want it.
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for device in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(device)
            values[f"system/gpu_{device}_memory_usage_percentage"] = 100 * (1 - free / total)
            values[f"system/gpu_{device}_memory_usage_gibibytes"] = (total - free) / _GIB
            try:
                values[f"system/gpu_{device}_utilization_percentage"] = float(torch.cuda.utilization(device))
            except (ModuleNotFoundError, RuntimeError):
                continue  # NVML's bindings are not installed: memory alone is reported
    return values
