"""A trained model as an MLflow model: ``mlflow.pyfunc.load_model(uri).predict(images)`` returns meshes.

It holds no pickle: its code is ``served_model.py``, its weights are safetensors, so that it loads where
``MLFLOW_ALLOW_PICKLE_DESERIALIZATION`` is false.
"""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

import raylift
from raylift.core.errors import DataError
from raylift.tracking.process_uri import process_tracking_uri

Predict = Callable[[pd.DataFrame, dict[str, Any]], pd.DataFrame]
"""(table of inputs, parameters) -> table of outputs, one row per input."""

_REQUIREMENTS = (
    "torch",
    "torchvision",
    "numpy",
    "numba",
    "scipy",
    "scikit-image",
    "pillow",
    "pyarrow",
    "jaxtyping",
    "safetensors",
    "trimesh",
)
_CODE = Path(__file__).with_name("served_model.py")
_ARTIFACT, _LOADER = "model", "loader"
_RECIPE = "recipe.json"

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.binary, "image"),
            ColSpec(DataType.binary, "depth", required=False),
            ColSpec(DataType.string, "camera", required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.binary, "glb", required=False),
            ColSpec(DataType.long, "num_vertices"),
            ColSpec(DataType.long, "num_faces"),
            ColSpec(DataType.string, "problem"),
        ]
    ),
    params=ParamSchema([ParamSpec("resolution", DataType.long, 128)]),
)
"""Inputs: images (and depths, if the recipe needs them) as file bytes, cameras as JSON. Outputs: GLB bytes."""


# MLflow would read type hints of predict as the schema, which the signature defines, and warns if they are missing.
warnings.filterwarnings("ignore", message=".*Add type hints to the `predict` method.*")


class PyfuncReconstructor(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """What MLflow loads. The model's config names the function that opens the exported model in its artifacts."""

    def __init__(self) -> None:
        self._predict: Predict | None = None

    def load_context(self, context: Any) -> None:
        module, _, name = context.model_config[_LOADER].partition(":")
        loader: Callable[[Path], Predict] = getattr(importlib.import_module(module), name)
        self._predict = loader(Path(context.artifacts[_ARTIFACT]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow reads hints as schemas
        assert self._predict is not None, "MLflow calls load_context first"
        return self._predict(pd.DataFrame(model_input), params or {})


def save_model(folder: Path, exported: Path, loader: Callable[[Path], Predict]) -> Path:
    """Write a model folder for ``MlflowTracker.log_model``: weights, the code of raylift, pinned requirements.

    Args:
        folder: must not exist.
        exported: folder of an exported model (``export.model_folder``).
        loader: an importable function that builds a predictor from such a folder. The caller supplies it, since
            tracking knows neither recipes nor weights.
    """
    find_exported(exported)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for type hints and examples; the signature is enough
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=str(_CODE),
            artifacts={_ARTIFACT: str(exported)},
            model_config={_LOADER: f"{loader.__module__}:{loader.__qualname__}"},
            code_paths=[str(Path(raylift.__file__).parent)],
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("mlflow", *_REQUIREMENTS)],
            signature=SIGNATURE,
        )
    return folder


def find_exported(folder: Path) -> Path:
    """The one exported model in a folder, or in those below it.

    Raises:
        DataError: there is not exactly one.
    """
    found = sorted(path.parent for path in folder.rglob(_RECIPE))
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} models with a {_RECIPE}",
            "log the run's model again: raylift reconstruct --run RUN --log-to-run",
        )
    return found[0]


def fetch_model(model_uri: str, tracking_uri: str | None = None) -> Path:
    """The exported model in a logged one, such as ``models:/m-...``, ``runs:/RUN/model`` or its folder: a new folder.

    Raises:
        DataError: MLflow cannot find the model, or it is not one of raylift's.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        with process_tracking_uri(tracking_uri):
            folder = download_artifacts(artifact_uri=model_uri, dst_path=tempfile.mkdtemp(prefix="raylift-model-"))
    except (MlflowException, OSError) as error:
        raise DataError(
            f"cannot fetch the model {model_uri}: {str(error).splitlines()[0]}",
            "check the URI, and set MLFLOW_TRACKING_URI or --tracking-uri to where it was logged",
        ) from error
    return find_exported(Path(folder))
