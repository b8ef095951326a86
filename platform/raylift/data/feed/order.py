"""The order in which an epoch shows its objects, a pure function of (seed, epoch).

Without a window the objects are permuted as a whole, so a reader meets every shard all the time. With a window of W
shards the shuffle has two levels: the shards are put in a drawn order and cut into windows of W shards, and the objects
of each window are permuted. A reader then needs one window at a time, whatever the size of the set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from raylift.core.generators import numpy_generator


class EpochOrder:
    """Draws the order of each epoch.

    Args:
        shards: shard of each object, [N].
        window: shards per window; None, or as many as there are, permutes all objects at once.
        seed: seed of the run.
    """

    def __init__(self, shards: Sequence[int], window: int | None, seed: int) -> None:
        self._seed = seed
        numbers, of_object = np.unique(np.asarray(shards, np.int64), return_inverse=True)
        self._num_objects, self._num_shards = len(of_object), len(numbers)
        self._window = None if window is None or window >= self._num_shards else window
        by_shard = np.argsort(of_object, kind="stable")
        self._of_shard = np.split(by_shard, np.cumsum(np.bincount(of_object))[:-1])

    @property
    def num_windows(self) -> int:
        """Windows per epoch."""
        return 1 if self._window is None else -(-self._num_shards // self._window)

    @property
    def shards_per_window(self) -> int:
        return self._num_shards if self._window is None else self._window

    def order(self, epoch: int) -> Int64[np.ndarray, " N"]:
        """The objects of an epoch, each once, by their index in ``shards``."""
        if self._window is None:
            return numpy_generator(self._seed, epoch, "order").permutation(self._num_objects)
        drawn = numpy_generator(self._seed, epoch, "shards").permutation(self._num_shards)
        windows = []
        for number in range(self.num_windows):
            chosen = drawn[number * self._window : (number + 1) * self._window]
            inside = np.concatenate([self._of_shard[shard] for shard in chosen])
            windows.append(numpy_generator(self._seed, epoch, "window", number).permutation(inside))
        return np.concatenate(windows)
