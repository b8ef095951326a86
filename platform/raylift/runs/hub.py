"""Exported models on Hugging Face's hub, by their ids, such as ``org/name`` or ``org/name@revision``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from raylift.core.errors import ConfigError, DataError
from raylift.export.model_folder import MODEL_FILES

_ID = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


def fetch_from_hub(hub_id: str) -> Path:
    """Download an exported model into the hub's cache; returns its folder there.

    HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE work as in huggingface_hub.

    Raises:
        ConfigError: not an id, or huggingface_hub is not installed.
        DataError: there is no such repository, or it cannot be reached.
    """
    found = _ID.fullmatch(hub_id)
    if found is None:
        raise ConfigError(f"{hub_id!r} is not a hub id", "use org/name or org/name@revision")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ModuleNotFoundError:
        raise ConfigError(
            f"{hub_id} would be loaded from the hub, but huggingface_hub is not installed",
            "pip install 'raylift[hub]', or pass the folder of a run or of an exported model",
        ) from None
    try:
        folder = snapshot_download(
            found["name"],
            revision=found["revision"],
            allow_patterns=list(MODEL_FILES),
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except (HFValidationError, OSError) as error:  # the hub's HTTP errors are OSErrors
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"{hub_id} cannot be loaded from the hub: {reason}",
            "check the id; a private repository needs HF_TOKEN. A local folder of this name does not exist either",
        ) from error
    return Path(folder)
