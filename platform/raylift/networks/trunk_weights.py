"""ImageNet weights of whole trunks: where they are searched, and how files' names and layouts are converted.

``networks.pretrained`` finds the plain convolutions of AlexNet and VGG16. Trunks with normalisation come from

1. the weights folder (``RAYLIFT_WEIGHTS``), under the names of ``file_names``;
2. torchvision's cache, for torchvision's own files.

``raylift fetch-weights`` puts those of MobileNetV2 and EfficientNet-Lite0 into the weights folder.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from raylift.core.errors import WeightsError
from raylift.networks.pretrained import Network, imagenet_convolutions
from raylift.weights.packages import PACKAGES, weight_file, weights_folder

_PLAIN: Mapping[str, Network] = {"alexnet": "alexnet", "vgg16": "vgg16"}
"""Trunks without normalisation layers."""


def load_trunk(name: str, stages: nn.Module) -> None:
    """Fill the stages of ``networks.trunks.build_trunk(name)`` with ImageNet's weights.

    Raises:
        WeightsError: weights that are missing, damaged, or of another network; the message says where to put them.
    """
    plain = _PLAIN.get(name)
    fill_in_order(stages, read_state(name) if plain is None else imagenet_convolutions(plain), name)


def fill_in_order(stages: nn.Module, found: Mapping[str, Tensor], name: str) -> None:
    """Copy tensors in order: networks of one layout list them in the same order, under any names.

    The classifier, which the trunk lacks, is at the end of the file.

    Raises:
        WeightsError: a tensor of another shape, or a file that ends too soon.
    """
    given = [(key, value) for key, value in found.items() if not key.endswith("num_batches_tracked")]
    own = [(key, value) for key, value in stages.state_dict().items() if not key.endswith("num_batches_tracked")]
    for index, (key, target) in enumerate(own):
        if index >= len(given) or given[index][1].shape != target.shape:
            what = f"{given[index][0]} {tuple(given[index][1].shape)}" if index < len(given) else "the file's end"
            raise WeightsError(
                f"the weights of {name} do not fit: {what} instead of {key} {tuple(target.shape)}",
                "replace the file with the weights of that network",
            )
        target.copy_(given[index][1])


def file_names(name: str) -> tuple[str, ...]:
    """Possible names of a trunk's file in the weights folder."""
    if name in PACKAGES:
        return (*PACKAGES[name].files, *_torchvision_files(name))
    if name.startswith("torchvision:"):
        return _torchvision_files(name.removeprefix("torchvision:"))
    return (f"{name.replace(':', '-')}.pth",)


def _torchvision_files(name: str) -> tuple[str, ...]:
    import torchvision

    try:
        weights = torchvision.models.get_model_weights(name)
    except ValueError:
        return ()
    return tuple(Path(entry.url).name for entry in weights)


def read_state(name: str) -> dict[str, Tensor]:
    """Load the tensors of a trunk's file, in the file's order.

    Raises:
        WeightsError: a missing or damaged file; the message says where to put it.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    files = file_names(name)
    for path in [*(weight_file(file) for file in files), *(cache / file for file in files)]:
        if path.is_file():
            return _read(path, name)
    job = f"run `raylift fetch-weights {name}`, or " if name in PACKAGES else ""
    raise WeightsError(
        f"no ImageNet weights of {name}",
        f"{job}put one of {', '.join(files)} into {weights_folder()}, or set RAYLIFT_WEIGHTS to a folder that has it",
    )


def _read(path: Path, name: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    except (RuntimeError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} does not contain the weights of {name}: {error}", "replace or delete it") from error
