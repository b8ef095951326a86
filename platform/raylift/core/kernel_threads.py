"""Runs compiled kernels on as many threads as torch may use, so that workers can share a machine.

Kernels release the GIL, so plain threads run them in parallel. There is no OpenMP pool that a forked process could
inherit in a broken state, and with one thread no pool is started.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch

CHUNKS_PER_THREAD = 4
"""Chunks of tasks per thread: small chunks balance the load between threads."""


@lru_cache(maxsize=1)
def _pool(num_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_threads, thread_name_prefix="raylift-kernel")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has none of its parent's threads


def run_tasks(kernel: Callable[..., None], num_tasks: int, *arguments: Any) -> None:
    """Call kernel(first, end, *arguments) on chunks that cover [0, num_tasks), each once, in any order.

    Args:
        kernel: compiled with ``nogil``; tasks must not write to the same memory.
    """
    num_threads = min(torch.get_num_threads(), num_tasks)
    if num_threads <= 1:
        kernel(0, num_tasks, *arguments)
        return
    num_chunks = min(num_tasks, num_threads * CHUNKS_PER_THREAD)
    turns = itertools.count()

    def work() -> None:
        for chunk in turns:
            if chunk >= num_chunks:
                return
            kernel(chunk * num_tasks // num_chunks, (chunk + 1) * num_tasks // num_chunks, *arguments)

    others = [_pool(num_threads - 1).submit(work) for _ in range(num_threads - 1)]
    work()
    for other in others:
        other.result()
