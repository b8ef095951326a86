"""A model card (Mitchell et al. 2019): model, data, scores and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raylift.core.errors import DataError
from raylift.core.storage import write_whole


def render_model_card(
    name: str,
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    limits: Sequence[str] = (),
) -> str:
    """The card as Markdown, which MLflow's page shows.

    Args:
        name: name of the run.
        recipe: the recipe as plain values.
        data: facts about the data set: location, licence, counts, digest.
        scores: rows of one table; a score's name includes its protocol, baselines have their own rows.
        training: facts about the run: steps, minutes, devices, revision.
        limits: sentences on known failures of the model.
    """
    lines = [f"# {name}", "", "Reconstructs a textured 3D mesh from one image of an object (Raylift).", ""]
    lines += ["## Scores on held-out objects", "", *_table(scores), ""]
    lines += ["## Data", "", *_facts(data), "", "## Training", "", *_facts(training), ""]
    if limits:
        lines += ["## Where it fails", "", *(f"* {limit}" for limit in limits), ""]
    lines += ["## Recipe", "", "```json", json.dumps(recipe, indent=2), "```", ""]
    return "\n".join(lines)


def write_model_card(path: Path, *, name: str, **sections: Any) -> Path:
    """Write ``render_model_card``'s text.

    Raises:
        DataError: writing fails.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), render_model_card(name, **sections).encode())
    except OSError as error:
        raise DataError(f"{path} was not written: {error.strerror}", "free space, or choose another folder") from error
    return Path(path)


def _facts(info: Mapping[str, Any]) -> list[str]:
    return [f"* {key}: {_cell(value)}" for key, value in info.items()] or ["* nothing recorded"]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["Not evaluated."]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows]


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
