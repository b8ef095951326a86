"""A run of the image-text model by the platform's own path, and its towers opened from its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.opening import open_source
from raylift.models import catalogue
from raylift.networks.image_text.opening import open_image_text
from raylift.runs import worker
from raylift.runs.train import train
from tests.data.image_layouts import picture, save


def test_a_run_is_scored_by_retrieval_and_opened_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(16):
        name = f"thing-{index}"
        save(tmp_path / "in" / f"{name}.png", picture((4 + index % 5, 6, 30, 34)))
        (tmp_path / "in" / f"{name}.txt").write_text(f"вещь {index % 4}", encoding="utf-8")
    config = ImagesConfig(image_px=48, min_object_px=4)
    ingest([open_source(f"cutouts:{tmp_path / 'in'}")], str(tmp_path / "data"), config, parallel="none")
    monkeypatch.setattr(worker, "MOST_KNOWN_IMAGES", 3)
    recipe = catalogue.get("image_text/test", ["scale.workers=0", "schedule.num_steps=4"])
    outcome = train(recipe, tmp_path / "data", tmp_path / "runs", "towers")
    metrics = outcome.fit.metrics
    assert 0 < metrics["val/chance"] <= 1
    assert 0 <= metrics["val/nearest5"] <= 1
    found = open_image_text(f"run:{tmp_path / 'runs' / 'towers'}")
    features = found.encode_image(torch.rand(2, 3, 48, 48))
    assert found.encode_text(["вещь 1"], features).shape == (1, features.shape[1])
