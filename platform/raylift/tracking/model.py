"""A trained model as an MLflow model: ``mlflow.pyfunc.load_model(uri).predict(images)`` returns meshes."""

from __future__ import annotations

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
    "trimesh",
)

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
    """What MLflow stores.

    Args:
        loader: an importable function that builds a predictor from a checkpoint's path. The caller supplies it, since
            tracking knows neither recipes nor checkpoints.
    """

    def __init__(self, loader: Callable[[Path], Predict]) -> None:
        self._loader = loader
        self._predict: Predict | None = None

    def load_context(self, context: Any) -> None:
        self._predict = self._loader(find_checkpoint(Path(context.artifacts["checkpoint"])))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow reads hints as schemas
        assert self._predict is not None, "MLflow calls load_context first"
        return self._predict(pd.DataFrame(model_input), params or {})


def save_model(folder: Path, checkpoint: Path, loader: Callable[[Path], Predict]) -> Path:
    """Write a model folder for ``MlflowTracker.log_model``: the checkpoint, the code of raylift, pinned requirements.

    Args:
        folder: must not exist.
        checkpoint: a folder that holds one ``step-*.pt`` with its JSON.
        loader: see ``PyfuncReconstructor``.
    """
    find_checkpoint(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for type hints and examples; the signature is enough
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=PyfuncReconstructor(loader),
            artifacts={"checkpoint": str(checkpoint)},
            code_paths=[str(Path(raylift.__file__).parent)],
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("mlflow", *_REQUIREMENTS)],
            signature=SIGNATURE,
        )
    return folder


def find_checkpoint(folder: Path) -> Path:
    """The one ``step-*.pt`` under a folder.

    Raises:
        DataError: there is not exactly one.
    """
    found = sorted(folder.rglob("step-*.pt"))
    if len(found) != 1:
        raise DataError(f"{folder} holds {len(found)} checkpoints", "use a folder with exactly one step-NNNNNNNN.pt")
    return found[0]


def fetch_checkpoint(model_uri: str, tracking_uri: str | None = None) -> Path:
    """The checkpoint inside a logged model, such as ``models:/m-...``, ``runs:/RUN/model`` or a model folder.

    Raises:
        DataError: MLflow cannot find the model, or it is not one of raylift's.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)
    try:
        folder = download_artifacts(artifact_uri=model_uri, dst_path=tempfile.mkdtemp(prefix="raylift-model-"))
    except (MlflowException, OSError) as error:
        raise DataError(
            f"cannot fetch the model {model_uri}: {str(error).splitlines()[0]}",
            "check the URI, and set MLFLOW_TRACKING_URI or --tracking-uri to where it was logged",
        ) from error
    return find_checkpoint(Path(folder))
