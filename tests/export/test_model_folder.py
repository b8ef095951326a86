"""Exported models: what is written is read, and nothing else is taken for a model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save

from raylift.core.errors import ConfigError, DataError, StorageError
from raylift.core.storage import Storage
from raylift.export.model_card import hub_metadata, render_model_card
from raylift.export.model_folder import ModelFiles, read_model_folder, write_model_folder


def files() -> ModelFiles:
    shared = torch.arange(6.0)
    weights = {
        "matrix": torch.arange(6.0).reshape(2, 3).T,
        "first": shared[:3],
        "whole": shared,
        "counter": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    return ModelFiles(weights, '{"name": "a/b"}', "# A card", {"num_images": 3}, 0.25, "run/step-00000001")


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    given = files()
    (tmp_path / ".gitattributes").touch()  # of a hub's clone
    for _ in range(2):
        write_model_folder(given, tmp_path)
    found = read_model_folder(tmp_path)
    assert set(found.weights) == set(given.weights)
    for name, value in given.weights.items():
        assert found.weights[name].dtype == value.dtype
        torch.testing.assert_close(found.weights[name], value, atol=0, rtol=0)
    for name in ("recipe", "card", "info", "level", "origin"):
        assert getattr(found, name) == getattr(given, name)


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch()
    with pytest.raises(ConfigError, match=r"holds other files, such as run\.json"):
        write_model_folder(files(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_was_cut_off_has_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model_folder(files(), tmp_path)

    def full(*_: object) -> None:
        raise StorageError("no room left")

    monkeypatch.setattr(Storage, "write", full)
    with pytest.raises(StorageError, match="no room left"):
        write_model_folder(files(), tmp_path)
    with pytest.raises(DataError, match=r"no recipe\.json"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is damaged"),
        (b"\x80\x04 a pickle, say", "is damaged"),
        (save({"a": torch.ones(1)}), "not written by raylift"),
        (save({"a": torch.ones(1)}, {"raylift": '{"format": 99}'}), "layout 99"),
        (save({"a": torch.ones(1)}, {"raylift": "{"}), "is damaged"),
    ],
)
def test_foreign_and_damaged_weights_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    write_model_folder(files(), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_model_folder(tmp_path)


def test_metadata_holds_the_models_own_finite_scores() -> None:
    rows = [
        {"method": "model", "protocol": "occnet", "metric": "iou", "mean": 0.5},
        {"method": "model", "protocol": "color", "metric": "psnr", "mean": math.nan},
        {"method": "retrieval", "protocol": "occnet", "metric": "iou", "mean": 0.2},
    ]
    metadata = hub_metadata("seats: 1", "implicit", "image-to-3d", "", rows)
    card = render_model_card("seats: 1", {}, {}, rows, {}, metadata=metadata)
    found = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in found
    (result,) = found["model-index"][0]["results"]
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [("occnet/iou", 0.5)]
    assert "model-index" not in hub_metadata("x", "parts", "", "mit", [])
