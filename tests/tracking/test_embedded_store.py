"""The embedded store is made whole, by whoever comes first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raylift.tracking.embedded_store import make_store


def test_a_store_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs" / "mlflow.db"
    link = os.link

    def killed(whole: Path, place: Path) -> None:
        assert not path.exists(), "nobody sees it before it is complete"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            make_store(f"sqlite:///{path}")
    assert list(path.parent.iterdir()) == []

    def late(whole: Path, place: Path) -> None:
        path.write_bytes(b"another's")
        link(whole, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", late)
        make_store(f"sqlite:///{path}")
    assert path.read_bytes() == b"another's", "the first one stays"
    path.unlink()

    make_store(f"sqlite:///{path}")
    assert list(path.parent.iterdir()) == [path]
    client = MlflowClient(f"sqlite:///{path}")
    experiment = client.create_experiment("chairs", artifact_location=f"file://{tmp_path}/artifacts")
    make_store(f"sqlite:///{path}")
    assert client.get_experiment(experiment).name == "chairs"


@pytest.mark.parametrize("uri", ["http://localhost:5000", "sqlite:///relative.db", ""])
def test_other_places_are_left_alone(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(uri)
    assert list(tmp_path.iterdir()) == []
