"""Raylift lifts single images to 3D, on Ray.

    import raylift

    model = raylift.load("runs/seats")
    model("photo.png").export("photo.glb")

``load``, ``prepare``, ``train``, ``evaluate`` and ``open_dataset`` are imported when they are first used: ``import
raylift`` alone imports neither torch nor Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raylift.api.datasets import DatasetItem, PreparedDataset, open_dataset
    from raylift.api.evaluation import Evaluation, evaluate
    from raylift.api.image_to_3d import ImageTo3D, load
    from raylift.api.preparation import Prepared, prepare
    from raylift.api.reconstruction import Reconstruction
    from raylift.api.training import TrainedRun, train

__version__ = "0.1.0"
__all__ = [
    "DatasetItem",
    "Evaluation",
    "ImageTo3D",
    "Prepared",
    "PreparedDataset",
    "Reconstruction",
    "TrainedRun",
    "__version__",
    "evaluate",
    "load",
    "open_dataset",
    "prepare",
    "train",
]

_HOMES = {
    "DatasetItem": "raylift.api.datasets:DatasetItem",
    "Evaluation": "raylift.api.evaluation:Evaluation",
    "ImageTo3D": "raylift.api.image_to_3d:ImageTo3D",
    "Prepared": "raylift.api.preparation:Prepared",
    "PreparedDataset": "raylift.api.datasets:PreparedDataset",
    "Reconstruction": "raylift.api.reconstruction:Reconstruction",
    "TrainedRun": "raylift.api.training:TrainedRun",
    "evaluate": "raylift.api.evaluation:evaluate",
    "load": "raylift.api.image_to_3d:load",
    "open_dataset": "raylift.api.datasets:open_dataset",
    "prepare": "raylift.api.preparation:prepare",
    "train": "raylift.api.training:train",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = _HOMES[name].partition(":")
    found = getattr(importlib.import_module(module), own)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
