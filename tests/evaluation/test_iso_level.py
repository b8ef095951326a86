"""The level that fields are cut at: chosen on objects that are not scored, printed, and kept for reconstructions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.types import Field, Mesh
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import evaluate
from raylift.evaluation.shapes.iso_level import LevelChoice, choose_level
from raylift.networks.point_sampling import sample_volume
from raylift.runs.iso_level import keep_level, kept_level
from raylift.testing.ranks import run_ranks
from tests.evaluation.models import AnsweringModel, TruthModel

QUICK = EvaluationConfig(("meshrcnn",), resolution=32, color_views=0, baselines=False)
DATA = DataConfig(batch_size=2)


class BiasedModel(AnsweringModel):
    """Answers with the true signed distance plus a constant: all shapes are too thin by it."""

    def __init__(self, dataset: ShardedDataset, bias: float, seen: list[str] | None = None) -> None:
        super().__init__()
        self.dataset, self.bias, self.seen = dataset, bias, seen

    def answer(self, sample: str) -> Mesh | Field:
        name = sample.rpartition("#")[0]
        if self.seen is not None:
            self.seen.append(self.dataset.entry(name).split)
        grid = torch.from_numpy(load_object(self.dataset, name, ("sdf32",)).sdf32.copy())[None, None]

        def query(points: Tensor) -> tuple[Tensor, Tensor]:
            return sample_volume(grid, points[None])[0, :, 0] + self.bias, torch.full_like(points, 0.5)

        return Field(query)


def _chosen(model: BiasedModel, dataset: ShardedDataset, split: str = "test") -> LevelChoice:
    found = choose_level(model.eval(), dataset, DATA, split)
    assert found is not None
    return found


def test_a_planted_bias_is_found_without_the_scored_objects(chairs: ShardedDataset) -> None:
    seen: list[str] = []
    unbiased = _chosen(BiasedModel(chairs, 0.0, seen), chairs)
    assert set(seen) == {"train"}, "there are no validation objects, and the test split is what is scored"
    for bias in (0.005, -0.005, 0.01):
        found = _chosen(BiasedModel(chairs, bias), chairs)
        assert found.level == pytest.approx(unbiased.level + bias, abs=0.0026)
        assert max(found.ious) > found.ious[0]
    assert "3 train objects" in unbiased.note
    assert choose_level(TruthModel(chairs).eval(), chairs, DATA, "test") is None


def test_the_level_is_printed_with_the_score_and_decides_it(chairs: ShardedDataset) -> None:
    model = BiasedModel(chairs, 0.01)
    auto = evaluate(model, chairs, "test", QUICK, DATA)
    fixed = evaluate(model, chairs, "test", replace(QUICK, level=0.0), DATA)
    assert auto.level is not None
    assert auto.level > 0
    assert fixed.level == 0.0
    assert any(note.startswith("iso-level +0") and "chosen on" in note for note in auto.notes)
    assert auto.metrics()["test/meshrcnn/f1_0.1_mean"] > fixed.metrics()["test/meshrcnn/f1_0.1_mean"]
    again = evaluate(model, chairs, "test", replace(QUICK, level=auto.level), DATA)
    assert again.metrics() == auto.metrics()


def _on_rank(uri: str) -> tuple[float, ...]:
    dataset = ShardedDataset.open(uri)
    assert collectives.world_size() == 2
    return _chosen(BiasedModel(dataset, 0.005), dataset).ious


def test_ranks_agree_on_the_level(chairs: ShardedDataset) -> None:
    alone = _chosen(BiasedModel(chairs, 0.005), chairs).ious
    assert run_ranks(2, _on_rank, chairs.uri) == [alone, alone]


def test_the_level_is_kept_with_its_checkpoint(tmp_path: Path) -> None:
    where = str(tmp_path / "run" / "checkpoints" / "step-00000010.pt")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert kept_level(where) == 0.0
    keep_level(where, 0.0025)
    assert kept_level(where) == 0.0025
    assert kept_level(where.replace("10.pt", "20.pt")) == 0.0, "of another checkpoint"
    keep_level(str(tmp_path / "alone.pt"), 0.01)
    assert kept_level(str(tmp_path / "alone.pt")) == 0.0
