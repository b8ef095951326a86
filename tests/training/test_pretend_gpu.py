"""The GPU that is not there: each kind of wait is seen, each mistake is an error, and the numbers are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raylift.core.device_copies import constant, numbers_of, on_host, require, upload, upload_known
from tests.training.pretend_gpu import GPU, pretend_gpu

HERE = Path(__file__).parent

WAITING: dict[str, Callable[[Tensor], object]] = {
    "_local_scalar_dense": lambda x: x.sum().item(),
    "is_nonzero": lambda x: bool(x.sum() > 0),
    "tolist": lambda x: x.tolist(),
    "a copy to the host": lambda x: x.cpu(),
    "a copy from the host": lambda x: torch.ones(3).to(x.device) + x,
    "nonzero": lambda x: x.nonzero(),
    "index by a mask": lambda x: x[x > 0],
    "index by the host's indices": lambda x: x[[0, 2]],
    "_unique2": lambda x: x.unique(),
    "repeat_interleave": lambda x: x.repeat_interleave(x.long().abs()),
}


@pytest.mark.parametrize("what", WAITING)
def test_every_kind_of_wait_is_seen_with_its_line(what: str) -> None:
    with pretend_gpu(HERE) as waits:
        x = torch.tensor([1.0, -2.0, 3.0]).to(GPU)
        waits.clear()
        WAITING[what](x)
        found = set(waits)
    names = {"is_nonzero": {"is_nonzero", "_local_scalar_dense"}}.get(what, {what})
    assert found & {f"test_pretend_gpu.py:<lambda>: {name}" for name in names}, found


def test_what_does_not_wait_is_not_recorded() -> None:
    with pretend_gpu(HERE) as waits:
        keys = upload_known(torch.tensor([7, 8]), GPU)
        x = upload(torch.ones(2, 3), GPU)
        y = (x * constant([1.0, 2.0, 3.0], x)).masked_fill(x > 2, 0.0).to("cpu", non_blocking=True)
        assert numbers_of(keys) == [7, 8]
        assert torch.equal(on_host(keys), torch.tensor([7, 8]))
        require(x > 0, "not above 0", "raise it")
        found = set(waits)
    assert found == set()
    assert y.tolist() == [[1.0, 2.0, 3.0]] * 2


def test_both_sides_in_one_operation_are_an_error() -> None:
    with pretend_gpu(HERE):
        x = torch.ones(3).to(GPU)
        assert (x * 2 + torch.tensor(1.0)).device == GPU, "a number may come from the host"
        with pytest.raises(RuntimeError, match="on cuda:0 and on cpu"):
            x + torch.ones(3)
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            x.numpy()


def test_gradients_are_real() -> None:
    layer = nn.Linear(4, 2)
    x = torch.rand(3, 4)
    layer(x).square().sum().backward()
    assert layer.weight.grad is not None
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    with pretend_gpu(HERE):
        layer.to(GPU)
        layer(x.to(GPU)).square().sum().backward()
        found = layer.weight.grad
        assert found is not None
        assert found.device == GPU
        assert torch.equal(found.cpu(), expected)
    assert torch.ones(2).to("cpu").tolist() == [1.0, 1.0], "the block leaves nothing behind"
