"""The process's tracking URI is borrowed and given back, with the variable that children inherit."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from raylift.tracking.process_uri import process_tracking_uri

NAME = "MLFLOW_TRACKING_URI"


@pytest.mark.parametrize("kept", [None, "sqlite:///kept.db"])
def test_the_process_has_its_own_again(kept: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = mlflow.get_tracking_uri() if os.environ.get(NAME) else None
    try:
        mlflow.set_tracking_uri(kept)  # type: ignore[arg-type]
        seen = []
        with suppress(RuntimeError), process_tracking_uri(f"sqlite:///{tmp_path}/other.db"):
            seen.append(mlflow.get_tracking_uri())
            raise RuntimeError
        assert seen[0].endswith("other.db")
        assert os.environ.get(NAME) == kept
        with process_tracking_uri(""):
            assert os.environ.get(NAME) == kept
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
