"""Seconds that training stands still for a checkpoint: written by the trainer, and by a thread meanwhile.

    python tests/benchmarks/checkpoint.py [--millions 27] [--folder FOLDER]

The state is that of a model of so many million parameters with AdamW (27: ``implicit/paper``, 322 MB). Between two
checkpoints there are steps enough for the thread to be done, as there are in a run; it prints their slow-down, too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from raylift.training.background_commit import BackgroundCommit
from raylift.training.checkpoint import CheckpointStore
from raylift.training.snapshot import Snapshot

REPEATS = 5
WIDTH = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=int, default=27, help="million parameters")
    parser.add_argument("--folder", type=Path, help="folder of the checkpoints (default: a temporary one)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(arguments.millions)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(1, WIDTH)).sum().backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as temporary:
        store = CheckpointStore(arguments.folder or temporary, keep_last=1)
        in_place, started, through, calm, busy = [], [], [], [], []
        for step in range(REPEATS):
            calm.append(_work_s())
            begun = time.perf_counter()
            store.write(2 * step, 99, model, _groups(optimizer), {})
            in_place.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            commit = BackgroundCommit(store, Snapshot.take(2 * step + 1, 99, model, _groups(optimizer), {}))
            commit.set_metrics({})
            started.append(time.perf_counter() - begun)
            busy.append(_work_s())
            commit.finish()
            through.append(time.perf_counter() - begun)
        last = store.last()
        assert last is not None
        print(f"a checkpoint of {last.num_bytes / 1e6:.0f} MB, medians of {REPEATS}")
    before, after = statistics.median(in_place), statistics.median(started)
    print(f"training stands still: {before:.3f} s written by the trainer, {after:.3f} s by a thread")
    print(f"ratio {after / before:.3f}; the checkpoint is there after {statistics.median(through):.3f} s")
    print(f"steps meanwhile take {statistics.median(busy) / statistics.median(calm):.2f} of their time")


def _groups(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, object]]:
    return {"model": {"optimizer": optimizer.state_dict(), "averages": {}, "num_updates": 1}}


def _work_s() -> float:
    """Seconds of a fixed amount of matrix products."""
    values = torch.rand(WIDTH, WIDTH)
    begun = time.perf_counter()
    for _ in range(20):
        values = (values @ values).clamp(0, 1)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
