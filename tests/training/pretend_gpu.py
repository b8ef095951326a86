"""A GPU that is not there: real numbers on the CPU that behave, to Python code, as tensors on ``cuda:0`` do.

Within ``pretend_gpu()`` everything with ``device="cuda"`` makes such tensors. As on a GPU, an operation on tensors of
both sides is an error, and ``.numpy()`` is. Whatever would make the host wait for a real device is recorded with the
function of the package that asked for it:

* a number read back: ``.item()``, ``bool()``, ``.tolist()``, a copy to the host that is not ``non_blocking``;
* a copy from the host that is not from pinned memory (``core.device_copies.upload``);
* a shape that depends on values: ``nonzero``, indexing by a mask, ``unique``, ``repeat_interleave`` by counts;
* a decomposition whose result the library checks on the host.

Torch's own ``FakeTensorMode`` cannot do this: without a driver its backward pass fails, and a first host read ends it.
Here the numbers are real, so a step runs to its end and its result can be compared with that of the CPU.

What it cannot see: the reads of compiled kernels and of collectives, the streams of a real device, and what becomes of
gradients in hand-written backward passes that leave Torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from raylift.rendering.fragments import Fragments
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import soft_silhouette
from tests.training.pretend_tensor import GPU, PINNED, PretendTensor, Recorder, RecorderMode, value_of

__all__ = ["GPU", "pretend_gpu"]

_WITH_TRITON = ("volume.march", "surface_transform.transform", "surface_transform.coverage")


def _rasterizer(recorder: Recorder) -> Callable[..., Fragments]:
    """PyTorch3D's kernel: the compiled one's fragments, on a graph whose gradients are zero."""

    def rasterize(screen: Tensor, faces: Tensor, *settings: Any) -> Fragments:
        found = rasterize_soft(value_of(screen.detach()).float(), value_of(faces), *settings)
        nothing = 0 * screen.float().sum()
        parts = (found.pix_to_face, found.zbuf, found.bary_coords, found.dists)
        there = [PretendTensor(one, recorder) for one in parts]
        return Fragments(there[0], *(one + nothing for one in there[1:]))

    return rasterize


def _mover(recorder: Recorder) -> Callable[..., Tensor]:
    """``Tensor.to`` of the host's tensors, which C++ would leave where they are if they are to go to another's side."""
    plain = Tensor.to

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        like = next((one for one in (*args, *kwargs.values()) if isinstance(one, PretendTensor)), None)
        if like is None:
            return plain(self, *args, **kwargs)
        return plain(self, GPU, like.dtype)

    return to


def _maker(recorder: Recorder, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` and ``torch.as_tensor``, whose C++ looks for a driver."""

    def make(data: Any, dtype: torch.dtype | None = None, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != "cuda" or isinstance(data, PretendTensor):
            return plain(data, dtype=dtype, device=None if isinstance(data, PretendTensor) else device, **kwargs)
        recorder.record("a copy from the host")
        return PretendTensor(plain(data, dtype=dtype, **kwargs), recorder)

    return make


def _silhouette(recorder: Recorder) -> Callable[..., Tensor]:
    """PyTorch3D's blended silhouette: the compiled one, on a graph whose gradients are zero."""

    def silhouette(screen: Tensor, faces: Tensor, image_px: int, sigma: float, reach: float, _: int) -> Tensor:
        found = soft_silhouette(value_of(screen.detach()).float(), value_of(faces), image_px, sigma, reach)
        return PretendTensor(found, recorder) + 0 * screen.float().sum()

    return silhouette


def _one_hot(index: Tensor, num_classes: int) -> Tensor:
    """``functional.one_hot``, which makes its result where C++ believes the index to be."""
    return (index[..., None] == torch.arange(num_classes, device=index.device)).long()


def _grad(recorder: Recorder) -> Callable[..., tuple[Tensor, ...]]:
    plain = torch.autograd.grad

    def grad(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        was, recorder.is_backward = recorder.is_backward, True
        try:
            return plain(*args, **kwargs)
        finally:
            recorder.is_backward = was

    return grad


def _pin(self: Tensor, *_: Any) -> Tensor:
    pinned = self.clone()
    setattr(pinned, PINNED, True)
    return pinned


@contextmanager
def pretend_gpu(root: Path) -> Iterator[Counter[str]]:
    """Within the block, ``cuda`` is the GPU that is not there.

    Args:
        root: folder of the package whose lines are named.

    Yields:
        What would have waited for a real device: how often, by "file:function: what".
    """
    recorder = Recorder(root)
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    rasterize = _rasterizer(recorder)

    def ready(*_: Any) -> None:
        """Nothing is to be started."""

    try:
        with ExitStack() as stack:
            parts: list[AbstractContextManager[Any]] = [
                mock.patch("torch.cuda._lazy_init", ready),
                mock.patch.object(Tensor, "pin_memory", _pin),
                mock.patch("torch.nn.functional.one_hot", _one_hot),
                mock.patch("torch.autograd.grad", _grad(recorder)),
                mock.patch.object(Tensor, "to", _mover(recorder)),
                mock.patch("torch.tensor", _maker(recorder, torch.tensor)),
                mock.patch("torch.as_tensor", _maker(recorder, torch.as_tensor)),
                mock.patch("raylift.rendering.soft_pytorch3d.silhouette_pytorch3d", _silhouette(recorder)),
                mock.patch("torch.cuda.current_stream", mock.MagicMock()),
                mock.patch("torch.cuda.manual_seed_all", ready),
                mock.patch("torch.cuda.mem_get_info", return_value=(1 << 36, 1 << 36)),
                mock.patch("torch.cuda.memory_reserved", return_value=0),
                mock.patch("torch.cuda.memory_allocated", return_value=0),
                mock.patch("raylift.rendering.soft_pytorch3d.rasterize_soft_pytorch3d", rasterize),
                mock.patch("raylift.rendering.soft_fragments.rasterize_soft_pytorch3d", rasterize),
                mock.patch("raylift.rendering.uv_fragments.rasterize_soft_pytorch3d", rasterize),
                *[mock.patch(f"raylift.rendering.{name}.find_spec", return_value=None) for name in _WITH_TRITON],
                RecorderMode(recorder),
            ]
            for part in parts:
                stack.enter_context(part)
            yield recorder.waits
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
