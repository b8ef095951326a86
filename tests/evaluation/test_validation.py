"""Quick IoU against closed forms, and the same whatever the split over ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from raylift.core import collectives
from raylift.core.errors import DataError
from raylift.core.types import Batch, Mesh
from raylift.evaluation.samples import over_samples
from raylift.evaluation.validation import inside_of, thickness, validate_shapes
from raylift.geometry.cameras import orbit_views
from raylift.testing.ranks import run_ranks
from tests.evaluation.models import BallModel, NothingModel
from tests.metrics.shapes import sphere

TRUE_RADIUS = 0.45


def _batch(numbers: list[int]) -> Batch:
    points = (torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.55
    stack = points.expand(len(numbers), -1, -1)
    return Batch(
        tuple(f"ball#{number}" for number in numbers),
        torch.tensor(numbers),
        {"iou_points": stack, "iou_inside": (stack.norm(dim=-1) < TRUE_RADIUS).float()},
        orbit_views(len(numbers)),
    )


def test_closed_form() -> None:
    scores = validate_shapes(BallModel(0.36), [_batch([0, 1])])
    names = {"val/iou", "val/iou_median", "val/thickness", "val/thickness_median", "val/iou_samples"}
    assert set(scores) == names
    assert scores["val/iou"] == pytest.approx((0.36 / TRUE_RADIUS) ** 3, abs=0.03)
    assert scores["val/iou_samples"] == 2
    assert validate_shapes(BallModel(TRUE_RADIUS), [_batch([0])], prefix="test")["test/iou"] == 1.0
    assert validate_shapes(NothingModel(), [_batch([0])])["val/iou"] == 0.0


def test_thickness_tells_balls_from_sheets_and_nothing() -> None:
    assert validate_shapes(BallModel(0.36), [_batch([0, 1])])["val/thickness"] == pytest.approx(1.0, abs=0.1)
    assert validate_shapes(NothingModel(), [_batch([0])])["val/thickness_median"] == 0.0
    box = np.random.default_rng(0).uniform(-1, 1, (20_000, 3)) * [4.0, 2.0, 1.0]
    turned = box @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    assert thickness(turned) == pytest.approx(0.25, abs=0.01), "a uniform box: its shortest edge over its longest"
    assert thickness(box * [1, 1, 0]) == 0.0
    assert thickness(np.zeros((10, 3))) == 0.0


def test_progress_follows_each_sample_before_the_next_is_scored() -> None:
    events: list[tuple[object, ...]] = []

    def score(batch: Batch) -> Iterator[str]:
        for sample in batch.ids:
            events.append(("score", sample))
            yield sample.upper()

    found = over_samples(
        BallModel(0.3), [_batch([0, 1]), _batch([2])], score, lambda done, sample: events.append((done, sample))
    )
    names = [f"ball#{number}" for number in range(3)]
    assert events == [event for done, name in enumerate(names, 1) for event in (("score", name), (done, name))]
    assert found == {name: name.upper() for name in names}


def test_mode_is_put_back_and_samples_count_once() -> None:
    model = BallModel(0.3, 0.02).train()
    once = validate_shapes(model, [_batch([0, 1, 2])])
    assert model.training
    assert validate_shapes(model.eval(), [_batch([0, 1]), _batch([1, 2])]) == once
    assert not model.training


def test_mean_and_median_differ_where_they_should() -> None:
    scores = validate_shapes(BallModel(0.1, 0.1), [_batch([0, 1, 3])])
    values = [validate_shapes(BallModel(0.1, 0.1), [_batch([number])])["val/iou"] for number in (0, 1, 3)]
    assert scores["val/iou"] == pytest.approx(sum(values) / 3)
    assert scores["val/iou_median"] == sorted(values)[1]


def test_nothing_to_evaluate_is_not_a_number() -> None:
    assert math.isnan(validate_shapes(BallModel(), [])["val/iou"])


def test_a_batch_without_points_is_refused() -> None:
    batch = Batch(("a#0",), torch.zeros(1, dtype=torch.int64), {}, orbit_views(1))
    with pytest.raises(DataError, match="iou_points"):
        validate_shapes(BallModel(), [batch])


def test_meshes_and_fields_agree() -> None:
    points = (torch.rand(3000, 3) - 0.5).double()
    vertices, faces = sphere(0.4, 5)
    mesh = Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))
    field = BallModel(0.4).answer("a#0")
    clear = (points.norm(dim=1) - 0.4).abs() > 1e-3
    assert torch.equal(inside_of(mesh, points)[clear], inside_of(field, points)[clear])
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert not inside_of(empty, points).any()


def _share(world: int) -> dict[str, float]:
    numbers = list(range(5))[collectives.rank() :: world]
    return validate_shapes(BallModel(0.3, 0.02), [_batch([number]) for number in numbers])


def test_any_number_of_ranks_gives_the_same_numbers() -> None:
    alone = validate_shapes(BallModel(0.3, 0.02), [_batch([0, 1, 2, 3, 4])])
    assert run_ranks(2, _share, 2) == [alone, alone]
