"""A recogniser's evaluation on disk: scores, pictures and meshes; and two of them compared image by image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import ConfigError
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Reconstruction
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.comparison.runs import compare_runs
from raylift.evaluation.images.recognition import first_recognised
from raylift.evaluation.images.recognition_panels import HEADER_PX, recognition_panel
from raylift.evaluation.images.recognition_tables import interval_table, level_table, recognition_tables
from raylift.models import catalogue
from raylift.runs.evaluate import Evaluated
from raylift.runs.evaluate_trained import evaluate_trained
from raylift.runs.trained_model import TrainedModel
from raylift.tracking.reading import TrackedRun
from tests.evaluation.photographs import egg
from tests.evaluation.recognisable import PlantedRecogniser, prepare_slabs

RECIPE = replace(
    catalogue.get("part_segmentation/test"), evaluation=EvaluationConfig(symmetries=(), calibration_images=0, panels=2)
)


class ReconstructingRecogniser(PlantedRecogniser, ReconstructionModel):
    """Reconstructs an egg of whatever it recognises."""

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        assert batch.camera is not None
        camera = replace(batch.camera, translation=torch.tensor([[0.0, 0.0, 3.0]]))
        return [Reconstruction(name, egg(), camera[index]) for index, name in enumerate(batch.ids)]


@pytest.fixture(scope="module")
def slabs(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    return prepare_slabs(tmp_path_factory.mktemp("slabs"))


def written(model: PlantedRecogniser, slabs: ShardedDataset, folder: Path, *panels_of: str) -> Evaluated:
    trained = TrainedModel(model, RECIPE, "somewhere", torch.device("cpu"))
    return evaluate_trained(trained, RECIPE, slabs, "test", folder, panels_of)


@pytest.fixture(scope="module")
def evaluated(slabs: ShardedDataset, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return written(PlantedRecogniser(turn_deg=20.0, wrong_every=4), slabs, tmp_path_factory.mktemp("plain"))


def names(evaluated: Evaluated) -> list[str]:
    return [path.name for path, _ in evaluated.files]


def test_scores_and_pictures_are_written(evaluated: Evaluated) -> None:
    assert names(evaluated) == ["scores.json", "panels.png", "worst.png"]
    assert json.loads(evaluated.files[0][0].read_text())["num_samples"] == 12
    panels, worst = (np.asarray(Image.open(path)) for path, _ in evaluated.files[1:])
    assert panels.shape == (2 * (160 + HEADER_PX), 4 * 160, 3)
    assert worst.shape[0] == 5 * (160 + HEADER_PX)


def test_meshes_are_drawn_if_the_model_makes_some(slabs: ShardedDataset, tmp_path: Path) -> None:
    found = written(ReconstructingRecogniser(), slabs, tmp_path, "slab-20")
    assert names(found) == ["scores.json", "panels.png", "worst.png", "viewer.html", "slab-20_0.glb"]
    assert np.asarray(Image.open(found.files[1][0])).shape == (160 + HEADER_PX, 5 * 160, 3)
    assert "slab-20#0" in found.files[3][0].read_text()
    with pytest.raises(ConfigError, match="slab-0: not in split test"):
        written(PlantedRecogniser(), slabs, tmp_path, "slab-0")


def test_a_picture_shows_what_was_said_and_what_is_true(slabs: ShardedDataset) -> None:
    model = PlantedRecogniser(shift_px=4)
    found = first_recognised(model, slabs, "test", RECIPE.data, 3)
    assert [one.id for one in found] == ["slab-18#0", "slab-19#0", "slab-20#0"]
    strip = recognition_panel(found[0], model.categories, image_px=56)[HEADER_PX:].astype(float) / 255
    image, outlines, said, true = (strip[:, 56 * column : 56 * (column + 1)] for column in range(4))
    red = (outlines[..., 0] > 0.8) & (outlines[..., 1] < 0.2)
    green = (outlines[..., 1] > 0.7) & (outlines[..., 0] < 0.2)
    # The predicted outline is the true one, moved by four pixels.
    assert np.flatnonzero(red.any(axis=0)).max() - np.flatnonzero(green.any(axis=0)).max() == 4
    purple = [(part[..., 2] - part[..., 1] > 0.2) for part in (said, true)]
    assert purple[1].sum() == 10 * 40  # half of a slab of 20 pixels is hidden
    assert np.array_equal(np.roll(purple[1], 4, axis=1), purple[0])
    assert not np.array_equal(image, said)


def test_tables_name_the_best_baseline(evaluated: Evaluated) -> None:
    tables = recognition_tables(evaluated.report)
    assert len(tables) > 10
    columns = [list(column.cells) for column in interval_table(evaluated.report).columns]
    rows = {row[0]: row[1:] for row in zip(*columns, strict=True)}
    # Of six bodies with two images each, three have one wrong image: every fourth, from 20 on.
    mean, _, baseline, *_ = rows["class/class_accuracy x100"]
    assert mean == "75.0"
    assert baseline in ("constant", "nearest silhouette")
    assert rows["outline/amodal_iou"][0] == "1.000"


def test_levels_stand_side_by_side(evaluated: Evaluated) -> None:
    table = level_table(evaluated.report, "pose_pi18")
    assert [str(column.header) for column in table.columns] == [
        "method", "all", "class mean", "L0 (3)", "L1 (2)", "L2 (3)", "L3 (3)"
    ]  # fmt: skip
    rows = {row[0]: row[1:] for row in zip(*(list(column.cells) for column in table.columns), strict=True)}
    assert rows["model"] == rows["model, class told"][:1] + ("0.0",) * 5
    assert rows["model, class told"][1] == "-"
    assert set(rows) >= {"constant", "constant, class told", "random pose"}


def test_two_recognisers_are_compared_object_by_object(slabs: ShardedDataset, tmp_path: Path) -> None:
    runs = []
    for name, turn in (("good", 5.0), ("bad", 50.0)):
        report = written(PlantedRecogniser(turn_deg=turn), slabs, tmp_path / name).report
        runs.append(
            TrackedRun(name, name, "FINISHED", {}, {"model": "planted", "evaluation.test.how": "56 pixels"},
                       scores={"test": report.object_rows()}, data={"training": "d", "test": "d"})
        )  # fmt: skip
    found = compare_runs(runs)
    lines = {line.metric: line for line in found.scores}
    gain = lines["viewpoint/rotation_deg"].gains[1]
    assert gain is not None
    assert gain.mean == pytest.approx(-45.0, abs=1e-3)
    assert gain.num_objects == 6
    assert lines["L2/pose_pi6"].gains[1] is not None
    assert "class/confidence" not in lines
