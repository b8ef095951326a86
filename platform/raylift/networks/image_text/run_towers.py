"""The two towers that a run of the platform has trained, read from its checkpoint.

Models are built below the layer that writes checkpoints, so this reads its files: ``step-NNNNNNNN.json`` with the
recipe and the digest, next to ``step-NNNNNNNN.pt`` with the weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from typing import Any

import torch
from torch import Tensor

from raylift.config.codec import from_dict
from raylift.core.errors import ConfigError, WeightsError
from raylift.core.storage import Storage
from raylift.networks.image_text.two_tower import TwoTower, TwoTowerConfig

TOWERS = "towers"
"""Name of the towers' config in the recipe of the model that trains them."""
WEIGHTS = "network.towers."
"""What the names of their weights start with in its checkpoints."""
_TRAIN = "train image and text towers on captioned images with raylift train, and name the folder of that run"


def towers_of_run(place: str) -> TwoTower:
    """The towers of a finished run's best checkpoint.

    Args:
        place: the run's folder, local or s3://.

    Raises:
        WeightsError: no checkpoint, an unfinished run, a damaged file.
        ConfigError: the run is of another model.
    """
    folder = Storage.at(place) / "checkpoints"
    entries = [json.loads(folder.read(name)) for name in folder.names(".json")]
    if not entries:
        raise WeightsError(f"{place} has no checkpoint of image and text towers", _TRAIN)
    last = entries[-1]
    if last["step"] < last["num_steps"]:
        raise WeightsError(
            f"the run in {place} stopped at step {last['step']} of {last['num_steps']}", "finish it with its command"
        )
    model = last["recipe"].get("model", {})
    if TOWERS not in model:
        raise ConfigError(f"{place} is a run of {last['recipe'].get('name')!r}, which has no text tower", _TRAIN)
    chosen = _best(entries, last["recipe"]["schedule"])
    towers = TwoTower(from_dict(TwoTowerConfig, model[TOWERS], TOWERS))
    where = f"{folder.uri}/step-{chosen['step']:08d}.pt"
    state = {
        name.removeprefix(WEIGHTS): value
        for name, value in _weights(folder, chosen, where).items()
        if name.startswith(WEIGHTS)
    }
    try:
        towers.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{where} does not fit its recipe: {str(error)[:300]}", _TRAIN) from None
    return towers


def _best(entries: list[dict[str, Any]], schedule: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint that the run's own metric chose, else the last."""
    metric, sign = schedule["best_metric"], 1.0 if schedule["best_is"] == "max" else -1.0
    scored = [entry for entry in entries if metric in entry["metrics"]]
    return max(scored, key=lambda entry: sign * entry["metrics"][metric], default=entries[-1])


def _weights(folder: Storage, entry: dict[str, Any], where: str) -> dict[str, Tensor]:
    """The model's tensors, averaged ones where the run kept averages."""
    data = folder.read(where.rpartition("/")[2])
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise WeightsError(f"{where} is damaged", "copy it again, or name another run")
    try:
        payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{where} cannot be loaded: {error}", "copy it again, or name another run") from None
    weights: dict[str, Tensor] = payload["model"]
    for state in payload["groups"].values():
        weights |= state["averages"]
    return weights
