"""A trained model written as a folder for others to load: weights, recipe, and a model card with its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.model import ReconstructionModel
from raylift.core.storage import Storage
from raylift.export.model_card import hub_metadata, render_model_card
from raylift.export.model_folder import ModelFiles, write_model_folder
from raylift.runs.iso_level import kept_level
from raylift.runs.trained_model import TrainedModel
from raylift.training.checkpoint import CheckpointStore

SCORES = ("evaluation", "test", "scores.json")
"""Where ``raylift evaluate`` leaves the scores of the test split, in a run's folder."""


def export_model(trained: TrainedModel, folder: str | Path, license: str = "") -> str:
    """Write a model as ``export.model_folder`` describes; returns the folder's address.

    Args:
        trained: from a run, a checkpoint or another exported model, whose card is then kept.
        folder: new or empty, local or s3://.
        license: of the weights, as a hub names it, such as "cc-by-4.0"; "" names none.

    Raises:
        ConfigError: the folder holds other files, or the model already has a card.
        StorageError: it cannot be written.
    """
    if trained.card and license:
        raise ConfigError(f"{trained.where} has a model card", "set the license in its README.md")
    files = ModelFiles(
        weights=trained.model.state_dict(),
        recipe=trained.recipe.to_json(),
        card=trained.card or _card(trained, license),
        info=trained.info.to_dict(),
        level=kept_level(trained.where) if trained.level is None else trained.level,
        origin=_name_of(trained.where),
    )
    return write_model_folder(files, folder)


def card_sections(where: str) -> dict[str, Any]:
    """The sections of a checkpoint's model card, with the test scores in its run's folder.

    Args:
        where: ``.../step-NNNNNNNN.pt``, local or s3://.

    Raises:
        CheckpointError: its JSON is missing.
    """
    folder, _, file = where.rpartition("/")
    stem = file.removesuffix(".pt")
    entry = next((one for one in CheckpointStore(folder).entries() if one.stem == stem), None)
    if entry is None:
        raise CheckpointError(f"{stem}.json is missing next to {where}", "copy both files of a checkpoint")
    scores = _test_scores(folder)
    return {
        "name": f"{entry.recipe.get('name', 'model')}: {_name_of(where).partition('/')[0]}",
        "recipe": entry.recipe,
        "data": {name: scores[name] for name in ("split", "num_samples", "data") if name in scores},
        "scores": [row for row in scores.get("summary", []) if row.get("category") == "all"],
        "training": {"checkpoint": entry.stem, "steps": f"{entry.step} of {entry.num_steps}", **entry.metrics},
    }


def _card(trained: TrainedModel, license: str) -> str:
    sections = card_sections(trained.where)
    task = "image-to-3d" if isinstance(trained.model, ReconstructionModel) else ""
    metadata = hub_metadata(sections["name"], trained.recipe.model_name, task, license, sections["scores"])
    return render_model_card(**sections, metadata=metadata)


def _test_scores(checkpoints: str) -> dict[str, Any]:
    run, _, kind = checkpoints.rpartition("/")
    *below, name = SCORES
    if not run or kind != "checkpoints":
        return {}
    folder = Storage.at("/".join([run, *below]))
    found: dict[str, Any] = json.loads(folder.read(name)) if name in folder.names() else {}
    return found


def _name_of(where: str) -> str:
    """The run and the checkpoint, without the folders above."""
    run, _, file = where.replace("/checkpoints/", "/").rpartition("/")
    return f"{run.rpartition('/')[2] or 'model'}/{file.removesuffix('.pt')}"
