"""Law 3: draws belong to samples."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from raylift.core.generators import numpy_generator, stable_hash, torch_generator


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from raylift.core.generators import stable_hash; print(stable_hash('chair/1#3', 7))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == stable_hash("chair/1#3", 7)


def test_the_hash_tells_keys_apart() -> None:
    keys = [(1, 2), (12,), ("1", 2), (1, "2"), ("1", "2"), ("12",), (2, 1), ("a", "bc"), ("ab", "c")]
    assert len({stable_hash(*key) for key in keys}) == len(keys)


def test_equal_keys_draw_equal_numbers_and_others_do_not() -> None:
    assert np.array_equal(numpy_generator(0, 3, "a").random(8), numpy_generator(0, 3, "a").random(8))
    assert not np.array_equal(numpy_generator(0, 3, "a").random(8), numpy_generator(1, 3, "a").random(8))
    assert not np.array_equal(numpy_generator(0, 3, "a").random(8), numpy_generator(0, 4, "a").random(8))
    left = torch.rand(8, generator=torch_generator(0, "a", 1))
    assert torch.equal(left, torch.rand(8, generator=torch_generator(0, "a", 1)))
    assert not torch.equal(left, torch.rand(8, generator=torch_generator(0, "a", 2)))


def test_draws_of_neighbouring_keys_are_independent() -> None:
    draws = np.stack([numpy_generator(0, epoch, "x").standard_normal(4000) for epoch in range(6)])
    correlation = np.corrcoef(draws) - np.eye(6)
    assert np.abs(correlation).max() < 0.06
