"""CPU seconds by stage in the evaluation of recognisers."""

from __future__ import annotations

import pytest
from torch import Tensor

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.model import Recognition
from raylift.core.types import Batch
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.images.recognition import evaluate_recognition
from raylift.evaluation.images.recognition_tables import recognition_tables
from raylift.evaluation.report import WHOLE, EvaluationReport
from tests.evaluation.recognisable import PlantedRecogniser, prepare_slabs

CONFIG = EvaluationConfig(symmetries=(), calibration_images=4)


class StagedRecogniser(PlantedRecogniser):
    """Counts how often a stopwatch measures it, and how often it is asked without one."""

    def __init__(self) -> None:
        super().__init__()
        self.measured, self.unmeasured = 0, 0

    def recognise(self, batch: Batch, category: Tensor | None = None) -> Recognition:
        if self.stopwatch is None:
            self.unmeasured += 1
            return super().recognise(batch, category)
        assert category is None, "only what the model says by itself is measured"
        self.measured += 1
        with self.stopwatch.stage("look"):
            said = super().recognise(batch)
        with self.stopwatch.stage("think"):
            sum(range(1000))
        return said


@pytest.fixture(scope="module")
def slabs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_slabs(tmp_path_factory.mktemp("slabs"))


def evaluated(model: PlantedRecogniser, slabs: ShardedDataset) -> EvaluationReport:
    return evaluate_recognition(model, slabs, "test", CONFIG, DataConfig(batch_size=5))


def test_stages_are_named_and_printed(slabs: ShardedDataset) -> None:
    model = StagedRecogniser()
    report = evaluated(model, slabs)
    assert set(report.stages) == {"look", "think", WHOLE}
    assert 0 < report.stages["look"] + report.stages["think"] <= report.stages[WHOLE]
    assert model.measured == len(range(0, len(report.model), 5))
    assert model.unmeasured > 0
    assert model.stopwatch is None
    table = recognition_tables(report)[-1]
    assert list(table.columns[0].cells) == ["look", "think", WHOLE]
    assert list(table.columns[2].cells)[-1] == "100"


def test_a_model_without_stages_has_none(slabs: ShardedDataset) -> None:
    report = evaluated(PlantedRecogniser(), slabs)
    assert report.stages == {}
    assert not any("CPU" in str(table.title) for table in recognition_tables(report))
    assert evaluated(StagedRecogniser(), slabs).to_json() == report.to_json(), "times are no result"
