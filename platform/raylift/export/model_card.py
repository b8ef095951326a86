"""A model card (Mitchell et al. 2019): model, data, scores and limits, with the metadata that model hubs read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from raylift.core.errors import DataError
from raylift.core.storage import write_whole


def render_model_card(
    name: str,
    recipe: Mapping[str, Any],
    data: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
    limits: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """The card as Markdown, which MLflow's page and model hubs show.

    Args:
        name: name of the run.
        recipe: the recipe as plain values.
        data: facts about the data set: location, licence, counts, digest.
        scores: rows of one table; a score's name includes its protocol, baselines have their own rows.
        training: facts about the run: steps, minutes, devices, revision.
        limits: sentences on known failures of the model.
        metadata: for a hub (``hub_metadata``): written as YAML on top, with a section on how to load the model.
    """
    lines = []
    if metadata is not None:
        lines += ["---", yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# {name}", "", "Reconstructs a textured 3D mesh from one image of an object (Raylift).", ""]
    lines += [] if metadata is None else _USE
    lines += ["## Scores on held-out objects", "", *_table(scores), ""]
    lines += ["## Data", "", *_facts(data), "", "## Training", "", *_facts(training), ""]
    if limits:
        lines += ["## Where it fails", "", *(f"* {limit}" for limit in limits), ""]
    lines += ["## Recipe", "", "```json", json.dumps(recipe, indent=2), "```", ""]
    return "\n".join(lines)


def hub_metadata(name: str, model: str, task: str, license: str, scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The metadata of a card, with the names of Hugging Face's hub.

    Args:
        name: name of the card.
        model: name of the model.
        task: the hub's name of the task, such as "image-to-3d"; "" for a model without one there.
        license: as the hub names it; "" for none.
        scores: summary rows of an evaluation (``evaluation.report``); those of the model become its results.
    """
    tags = ["raylift", "3d-reconstruction", model]
    found: dict[str, Any] = {"library_name": "raylift", "tags": tags}
    found |= {"pipeline_tag": task} if task else {}
    found |= {"license": license} if license else {}
    metrics = [
        {
            "type": f"{row['protocol']}/{row['metric']}",
            "name": f"{row['metric']} ({row['protocol']})",
            "value": row["mean"],
        }
        for row in scores
        if row.get("method") == "model" and math.isfinite(row["mean"])
    ]
    if metrics:
        dataset = {"type": "raylift", "name": "held-out test objects"}
        result = {"task": {"type": task or "other"}, "dataset": dataset, "metrics": metrics}
        found["model-index"] = [{"name": name, "results": [result]}]
    return found


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


_USE = [
    "## Use",
    "",
    "```python",
    "import raylift",
    "",
    'model = raylift.load("FOLDER")  # this folder, or the name of its repository on the hub',
    'model("photo.png").export("photo.glb")',
    "```",
    "",
]


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
