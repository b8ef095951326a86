"""A trained model as a folder that others can load: weights, recipe and model card, without pickle.

    model.safetensors    the weights, and in its metadata what else the model needs to be built
    recipe.json          the recipe, as ``Recipe.to_json`` writes it
    README.md            the model card

A folder with a recipe is complete: the recipe is written last, and removed first when a folder is written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.storage import Storage

WEIGHTS_NAME, RECIPE_NAME, CARD_NAME = "model.safetensors", "recipe.json", "README.md"
MODEL_FILES = (WEIGHTS_NAME, RECIPE_NAME, CARD_NAME)
FORMAT = 1
_KEY = "raylift"
_REMEDY = "use a folder that raylift.load(...).save(FOLDER) wrote"


@dataclass(frozen=True)
class ModelFiles:
    """The content of a model's folder.

    Attributes:
        weights: the model's ``state_dict``.
        recipe: the recipe as JSON text.
        card: the model card as Markdown.
        info: facts about the data set that the model was built for (``core.dataset_info``), as plain values.
        level: iso-level of fields.
        origin: name of the checkpoint that the weights are from.
    """

    weights: Mapping[str, Tensor]
    recipe: str
    card: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    level: float = 0.0
    origin: str = ""


def write_model_folder(files: ModelFiles, place: str | Path) -> str:
    """Write the three files; returns the folder's address.

    Args:
        place: a folder, local or s3://: new, empty, or with an earlier version of the same three files.

    Raises:
        ConfigError: the folder holds something else.
        StorageError: it cannot be written.
    """
    folder = Storage.at(place)
    # A hub's clone has files of its own, such as .gitattributes.
    others = [name for name in folder.names() if name not in MODEL_FILES and not name.startswith(".")]
    if others:
        raise ConfigError(f"{folder.uri} holds other files, such as {others[0]}", "choose a new or an empty folder")
    facts = {"format": FORMAT, "info": dict(files.info), "level": files.level, "origin": files.origin}
    # Clones: safetensors refuses tensors that share memory.
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in files.weights.items()}
    folder.delete(RECIPE_NAME)
    folder.write(WEIGHTS_NAME, save(weights, {"format": "pt", _KEY: json.dumps(facts)}))
    folder.write(CARD_NAME, files.card.encode())
    folder.write(RECIPE_NAME, files.recipe.encode())
    return folder.uri


def read_model_folder(place: str | Path) -> ModelFiles:
    """Read a folder that ``write_model_folder`` wrote.

    Raises:
        DataError: a file is missing or damaged, or another program wrote it.
        StorageError: the folder cannot be read.
    """
    folder = Storage.at(place)
    found = folder.names()
    missing = [name for name in (RECIPE_NAME, WEIGHTS_NAME) if name not in found]
    if missing:
        raise DataError(f"{folder.uri} is not an exported model: it has no {' and no '.join(missing)}", _REMEDY)
    content = folder.read(WEIGHTS_NAME)
    where = f"{folder.uri}/{WEIGHTS_NAME}"
    try:
        weights = load(content)
        facts = json.loads(_metadata(content)[_KEY])
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{where} is damaged: {error}", "copy or download it again") from None
    except KeyError:
        raise DataError(f"{where} was not written by raylift", _REMEDY) from None
    if facts.get("format") != FORMAT:
        raise DataError(f"{where} has layout {facts.get('format')}", f"this Raylift reads layout {FORMAT}")
    card = folder.read(CARD_NAME).decode(errors="replace") if CARD_NAME in found else ""
    recipe = folder.read(RECIPE_NAME).decode(errors="replace")
    return ModelFiles(weights, recipe, card, facts["info"], float(facts["level"]), str(facts["origin"]))


def _metadata(content: bytes) -> dict[str, str]:
    """The text metadata of a safetensors file: its header is JSON, after its length in eight bytes."""
    size = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    return found
