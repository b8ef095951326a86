"""Tensors of a GPU that is not there, and the recorder of what a real one would be waited for (``pretend_gpu``)."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
PINNED = "_raylift_pinned"
_aten = torch.ops.aten

_READS = {
    "_local_scalar_dense", "nonzero", "nonzero_numpy", "masked_select", "_unique2", "unique_dim", "unique_consecutive",
    "unique_dim_consecutive", "bincount", "equal", "is_nonzero", "_linalg_check_errors", "linalg_eigh", "linalg_eig",
    "_linalg_eigh", "_linalg_svd", "linalg_lstsq", "histc", "allclose",
}  # fmt: skip
"""Operations whose result, or its shape, the host must wait for."""
_SORTED_BY_DEVICE = ("/torch/optim/adam.py", "/torch/nn/utils/clip_grad.py")
"""They sort tensors by the device that C++ sees, and move others there."""
_MIXED = {"index", "index_put_", "index_put", "_index_put_impl_", "copy_", "_to_copy", "_unsafe_index"}
"""Operations that take tensors of both sides; of the host's, indices and sources are copied."""


class PretendTensor(Tensor):
    """A tensor on the GPU that is not there.

    To C++ it is on the CPU, so that the autograd engine looks for no streams; to Python it is on ``cuda:0``.
    """

    _value: Tensor
    _gpu: Recorder

    @staticmethod
    def __new__(cls, value: Tensor, gpu: Recorder) -> PretendTensor:
        made: PretendTensor = Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            layout=value.layout,
            device=value.device,
        )
        made._value, made._gpu = value, gpu
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        gpu = next(one._gpu for one in tree_flatten((args, kwargs))[0] if isinstance(one, PretendTensor))
        return gpu.run(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use .cpu() first")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        self._gpu.record("tolist")
        return self._value.tolist()

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        self._gpu.record("a copy from the host")
        return PretendTensor(torch.tensor(data, dtype=kwargs.get("dtype") or self.dtype), self._gpu)

    def backward(self, *args: Any, **kwargs: Any) -> None:
        self._gpu.is_backward = True
        try:
            super().backward(*args, **kwargs)
        finally:
            self._gpu.is_backward = False

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other)

    def cpu(self, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
        return self.to("cpu")

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """As ``Tensor.to``; a move to the host is an operation of its own, since C++ believes it is there."""
        if sys._getframe(1).f_code.co_filename.endswith(_SORTED_BY_DEVICE):
            return self
        device, dtype, *_ = torch._C._nn._parse_to(*tree_map(value_of, args), **tree_map(value_of, kwargs))
        like = next((one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None)
        device = GPU if isinstance(like, PretendTensor) else device
        if device is None or device.type == "cuda":
            return self.type(dtype) if dtype is not None and dtype != self.dtype else self
        moved: Tensor = _aten._to_copy(
            self, dtype=dtype, device=torch.device("cpu"), non_blocking=bool(kwargs.get("non_blocking", False))
        )
        return moved

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"pretend({self._value})"


def value_of(one: Any) -> Any:
    return one._value if isinstance(one, PretendTensor) else one


class Recorder:
    """Runs operations on the values, refuses mixed sides, and writes down what a device would be waited for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.waits: Counter[str] = Counter()
        self.is_backward = False

    def record(self, what: str) -> None:
        self.waits[f"{self._line()}: {what}"] += 1

    def _line(self) -> str:
        """The innermost line of the package, outside of this file and of what reads and copies on purpose."""
        frame = sys._getframe(1)
        here = Path(__file__)
        passed = {here, here.with_name("pretend_gpu.py"), self.root / "core/device_copies.py"}
        while frame.f_back is not None:
            path = Path(frame.f_code.co_filename)
            if path not in passed and self.root in path.parents:
                return f"{path.relative_to(self.root).as_posix()}:{frame.f_code.co_name}"
            frame = frame.f_back
        return "outside"

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        flat = tree_flatten((args, kwargs))[0]
        there = [one for one in flat if isinstance(one, PretendTensor)]
        target = kwargs.get("device")
        target = None if target is None else torch.device(target)
        name = func.overloadpacket.__name__
        if target is not None and there and (name.startswith("new_") or name.endswith("_like")):
            target = GPU  # C++ asks for a tensor where the given one is, which it takes for the host
        if target is not None and there and self.is_backward and name == "_to_copy":
            target = GPU  # the gradient of a change of type
        to_gpu = target is not None and target.type == "cuda"
        if not there and not to_gpu:
            return func(*args, **kwargs)
        self._note(name, args, kwargs, flat, target)
        plain_args, plain_kwargs = tree_map(value_of, (args, kwargs))
        if target is not None:
            plain_kwargs["device"] = torch.device("cpu")
        plain_kwargs.pop("pin_memory", None)
        found = func(*plain_args, **plain_kwargs)
        if target is not None and not to_gpu:
            return found
        if name == "copy_" and not isinstance(args[0], PretendTensor):
            return args[0]
        known = {id(one._value): one for one in there}

        def there_too(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            return known[id(one)] if id(one) in known else PretendTensor(one, self)

        return tree_map(there_too, found)

    def _note(self, name: str, args: Any, kwargs: Any, flat: list[Any], target: torch.device | None) -> None:
        here = [one for one in flat if isinstance(one, Tensor) and not isinstance(one, PretendTensor)]
        if name in ("_to_copy", "copy_"):
            self._note_copy(name, args, kwargs, target)
            return
        if name in _READS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.record(name)
        if name in ("index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"):
            indices = [one for one in args[1] if one is not None]
            masks = [one for one in indices if one.dtype in (torch.bool, torch.uint8)]
            # A single value is filled in by the mask; anything else needs the mask's places.
            if masks and not (name != "index" and args[2].numel() == 1):
                self.record(f"{name} by a mask")
            if any(not isinstance(one, PretendTensor) for one in indices):
                self.record(f"{name} by the host's indices")
        strays = [one for one in here if one.dim() > 0 and name not in _MIXED]
        # Within the backward pass C++ makes tensors of its own, on what it takes for the device of the others.
        if strays and not self.is_backward:
            raise RuntimeError(
                f"{name} got tensors on cuda:0 and on cpu, {[tuple(one.shape) for one in strays]}, in {self._line()}"
            )

    def _note_copy(self, name: str, args: Any, kwargs: Any, target: torch.device | None) -> None:
        source = args[0] if name == "_to_copy" else args[1]
        if name == "_to_copy":
            to_gpu = isinstance(source, PretendTensor) if target is None else target.type == "cuda"
            may_return = bool(kwargs.get("non_blocking"))
        else:
            to_gpu = isinstance(args[0], PretendTensor)
            may_return = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        from_gpu = isinstance(source, PretendTensor)
        if to_gpu == from_gpu:
            return
        if to_gpu and not (may_return and hasattr(source, PINNED)):
            self.record("a copy from the host")
        if not to_gpu and not may_return:
            self.record("a copy to the host")


class RecorderMode(TorchDispatchMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._recorder.run(func, args, kwargs or {})
