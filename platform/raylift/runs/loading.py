"""Opens a trained model by any of its names: a run, a checkpoint, an exported or a logged model, or one on the hub."""

from __future__ import annotations

import difflib
import os
import shutil
from dataclasses import replace
from pathlib import Path

from raylift.core.errors import ConfigError, DataError
from raylift.core.storage import Storage
from raylift.export.model_folder import RECIPE_NAME, WEIGHTS_NAME
from raylift.runs.hub import fetch_from_hub, is_hub_id
from raylift.runs.trained_model import TrainedModel
from raylift.tracking.address import default_tracking_uri
from raylift.training.checkpoint import CheckpointStore, find_checkpoints

MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")
HUB = "hf:"
_REMEDY = "pass the folder of a run or of an exported model, models:/NAME@ALIAS, or a hub id, org/name"


def open_trained(source: str | Path, device: str | None = None, tracking_uri: str = "") -> TrainedModel:
    """Open a trained model.

    Args:
        source: one of

            * a run's folder, local or s3://: its best checkpoint; or ``.../step-NNNNNNNN.pt``;
            * the folder of an exported model, local or s3://;
            * an MLflow model: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/RUN/model``, or its folder;
            * a model on the hub: ``org/name``, with ``@revision`` by option, if no folder here has this name; or
              ``hf:org/name``.
        device: "cpu" or "cuda"; by default a GPU if available.
        tracking_uri: MLflow tracking URI; by default MLFLOW_TRACKING_URI, else ``runs/mlflow.db`` if it exists.

    Raises:
        RayliftError: there is no such model, or it is damaged; with its remedy.
    """
    text = str(source)
    if not text.strip():
        raise ConfigError("the model's name is empty", _REMEDY)
    if text.startswith(MLFLOW):
        return _of_mlflow(text, device, tracking_uri)
    if text.startswith(HUB):
        return _of_hub(text.removeprefix(HUB).lstrip("/"), device)
    if "://" in text:
        return _of_folder(text, device)
    path = Path(text).expanduser()
    if path.exists():
        return _of_folder(str(path), device)
    # Below a folder that exists, the name is a misspelt path rather than a hub's.
    if is_hub_id(text) and not path.parent.is_dir():
        return _of_hub(text, device)
    raise ConfigError(f"there is no {text}", _near(path) or _REMEDY)


def _of_folder(text: str, device: str | None) -> TrainedModel:
    if text.endswith(".pt"):
        return TrainedModel.open(text, device)
    if "://" not in text and not Path(text).is_dir():
        raise ConfigError(f"{text} is a file, but not a checkpoint", _REMEDY)
    names = Storage.at(text).names()
    if "MLmodel" in names:
        return _of_mlflow(text, device, "")
    if RECIPE_NAME in names:
        return TrainedModel.of_folder(text, device)
    if WEIGHTS_NAME in names:
        raise DataError(f"{text} has {WEIGHTS_NAME}, but no {RECIPE_NAME}", "copy or download the whole folder again")
    if not CheckpointStore(find_checkpoints(text)).entries():
        raise DataError(f"{text} is not a model: it has neither checkpoints nor a {RECIPE_NAME}", _REMEDY)
    return TrainedModel.of_run(text, device)


def _of_hub(hub_id: str, device: str | None) -> TrainedModel:
    return replace(TrainedModel.of_folder(fetch_from_hub(hub_id), device), where=f"{HUB}{hub_id}")


def _of_mlflow(uri: str, device: str | None, tracking_uri: str) -> TrainedModel:
    from raylift.tracking.model import fetch_model  # MLflow takes seconds to import

    beside = Path("runs/mlflow.db")
    known = default_tracking_uri("runs") if beside.is_file() and "MLFLOW_TRACKING_URI" not in os.environ else ""
    folder = fetch_model(uri, tracking_uri or known or None)
    try:
        return replace(TrainedModel.of_folder(folder, device), where=uri)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _near(path: Path) -> str:
    """A hint to a folder with a similar name: a chain of stages, such as ``birds``, is trained as ``birds.stage1``."""
    if not path.parent.is_dir():
        return ""
    names = sorted(one.name for one in path.parent.iterdir() if one.is_dir())
    stages = [name for name in names if name.startswith(f"{path.name}.")]
    near = stages[-1:] or difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else ""
