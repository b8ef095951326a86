"""Run a function on several gloo ranks of this machine and hand back what each returned."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _main(rank: int, world: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # On two cores, ranks with thread pools of their own starve each other until collectives time out.
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        torch.save(function(*arguments), Path(folder) / f"{rank}.pt")
    except Exception:
        (Path(folder) / f"{rank}.error").write_text(traceback.format_exc())
        raise
    finally:
        gc.collect()  # what a caught exception still holds may hold the process group
        dist.destroy_process_group()
    # Not through the interpreter's end: whatever still refers to the group keeps gloo's threads alive, and one that
    # frees a tensor there asks an interpreter that is gone for its lock and aborts ("terminate called without an active
    # exception"; https://github.com/pytorch/pytorch/pull/179291). It was seen twice in some hundred runs of the tests.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def run_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returns on each rank, in rank order; it must be importable."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        context = mp.spawn(_main, (world, folder, function, arguments), nprocs=world, join=False)
        try:
            while not context.join(timeout=1):
                pass
        except Exception as error:
            notes = [path.read_text() for path in sorted(Path(folder).glob("*.error"))]
            raise AssertionError("\n".join(notes) or str(error)) from error
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world)]
