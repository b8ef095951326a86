"""Synthetic batches carry what a request names, in the shapes of ``core.types.Batch``, and agree with themselves."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.core.examples import ExampleRequest
from raylift.core.types import CropRequest, SampleRequest, VoxelRequest, VoxelSource
from raylift.geometry.cameras import camera_centers, project
from raylift.testing.batches import Balls, rows_of, synthetic_batch, synthetic_examples

WHOLE = SampleRequest(
    image_px=16,
    num_points=7,
    voxels=VoxelRequest("visible", resolution=8),
    num_iou_points=9,
    num_told_points=11,
    mask_distance=True,
    depth=True,
)
CROP = SampleRequest(16, crop=CropRequest(), mask_distance=True, object_colors=True, image_index=True)


def test_a_whole_image_has_all_that_is_asked_for() -> None:
    batch = synthetic_batch(WHOLE, 3, dtype=torch.float64)
    assert {name: tuple(value.shape) for name, value in batch.fields.items()} == {
        "image": (3, 3, 16, 16),
        "mask": (3, 1, 16, 16),
        "depth": (3, 1, 16, 16),
        "mask_distance": (3, 1, 16, 16),
        "points": (3, 7, 3),
        "sdf": (3, 7),
        "color": (3, 7, 3),
        "iou_points": (3, 9, 3),
        "iou_inside": (3, 9),
        "told_points": (3, 11, 3),
        "told_colors": (3, 11, 3),
        "voxels": (3, 4, 8, 8, 8),
    }
    assert {value.dtype for value in batch.fields.values()} == {torch.float64}
    assert batch.camera is not None
    assert batch.camera.focal.dtype == torch.float64
    assert len(batch) == len(set(batch.ids)) == len(set(batch.keys.tolist())) == 3


def test_a_crop_has_no_camera_unless_the_truth_is_asked_for() -> None:
    batch = synthetic_batch(CROP, 3)
    names = {"image", "mask", "mask_distance", "object_colors", "mirrored", "image_index"}
    assert set(batch.fields) == names
    assert batch.camera is None
    assert batch["image_index"].tolist() == [0, 1, 2]
    told = synthetic_batch(SampleRequest(16, crop=CropRequest(), truth=True), 3).camera
    assert told is not None
    assert told.projection == "orthographic"


def test_pixels_depths_and_told_points_lie_on_the_ball() -> None:
    batch = synthetic_batch(WHOLE, 4)
    camera = batch.camera
    assert camera is not None
    balls = Balls.drawn(batch.keys, 0)
    torch.testing.assert_close(balls.distances(batch["told_points"]), torch.zeros(4, 11), rtol=0, atol=1e-6)
    uv, _ = project(camera, balls.centers[:, None])
    pixel = ((uv[:, 0] + 1) * 8).long()
    for index, (column, row) in enumerate(pixel.tolist()):
        assert batch["mask"][index, 0, row, column] == 1
        away = (camera_centers(camera)[index] - balls.centers[index]).norm() - balls.radii[index]
        assert float(batch["depth"][index, 0, row, column]) == pytest.approx(float(away), abs=0.05)
    background = batch["mask"].expand(-1, 3, -1, -1) == 0
    assert bool((batch["image"][background] == 1).all())
    assert bool((batch["mask_distance"][batch["mask"] == 1] == 0).all())
    shares = batch["voxels"][:, 0].sum(dim=(1, 2, 3))
    torch.testing.assert_close(shares, torch.ones(4))


@pytest.mark.parametrize("source", ["visible", "surface", "gt_occupancy", "gt_sdf"])
def test_every_kind_of_grid(source: VoxelSource) -> None:
    voxels = VoxelRequest(source, resolution=8)
    grid = synthetic_batch(SampleRequest(8, voxels=voxels), 2)["voxels"]
    assert grid.shape == (2, voxels.num_channels, 8, 8, 8)
    assert bool(grid.flatten(1).any(dim=1).all())
    assert float(grid.min()) >= -1
    assert float(grid.max()) <= 1


def test_a_batch_follows_from_its_arguments_and_a_sample_from_its_place() -> None:
    first, again, longer = synthetic_batch(WHOLE, 2), synthetic_batch(WHOLE, 2), synthetic_batch(WHOLE, 4)
    other = synthetic_batch(WHOLE, 2, seed=1)
    for name, value in first.fields.items():
        assert torch.equal(value, again[name])
        assert torch.equal(value, rows_of(longer, [0, 1])[name])
        assert not torch.equal(value, other[name]), name


def test_what_a_ball_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no parts or keypoints"):
        synthetic_batch(SampleRequest(8, parts=True, keypoints=True), 2)


def test_examples_are_the_balls_of_the_batch() -> None:
    request = ExampleRequest(num_objects=3, num_views=2, silhouette_px=8, num_points=5)
    batch = synthetic_batch(SampleRequest(8), 4)
    examples = synthetic_examples(request, batch)
    assert examples.sdf.shape == (3, 32, 32, 32)
    assert examples.points.shape == (3, 5, 3)
    assert examples.silhouettes.shape == (6, 8, 8)
    assert examples.owners.tolist() == [0, 0, 1, 1, 2, 2]
    distances = Balls.drawn(batch.keys[:3], 0).distances(examples.points)
    torch.testing.assert_close(distances, torch.zeros(3, 5), rtol=0, atol=1e-6)
    assert set(examples.samples) == {"ball-0", "ball-1", "ball-2", "ball-3"}


HIDDEN = SampleRequest(16, background=True, amodal=True, category=True, supervised_camera=True, crop=CropRequest())


def test_balls_may_be_half_hidden_in_front_of_a_background() -> None:
    batch = synthetic_batch(HIDDEN, 5, dtype=torch.float64)
    assert set(batch.fields) == {"image", "mask", "mirrored", "amodal", "category"}
    assert batch.camera is not None
    assert batch["category"].tolist() == [0, 1, 2, 0, -1]
    assert batch["category"].dtype == torch.int64
    whole, visible, image = batch["amodal"], batch["mask"], batch["image"]
    assert torch.equal(whole[::2], visible[::2])
    assert (visible[1::2, ..., :8] == 0).all()
    assert torch.equal(whole[1::2, ..., 8:], visible[1::2, ..., 8:])
    assert (whole[1::2].sum((1, 2, 3)) > visible[1::2].sum((1, 2, 3))).all()
    plain = synthetic_batch(SampleRequest(16, crop=CropRequest()), 5, dtype=torch.float64)
    seen = visible.expand(-1, 3, -1, -1) == 1
    assert torch.equal(image[seen], plain["image"][seen])
    assert torch.equal(whole, plain["mask"])
    assert not (image[:, :, 0] == 1).all(), "the background is not white"
    assert (image[1::2, :, :, :8] == image[1, 0, 0, 0]).all(), "the board is all that is seen on the left"
    white = synthetic_batch(SampleRequest(16, amodal=True), 5)
    assert (white["image"][white["mask"].expand(-1, 3, -1, -1) == 0] == 1).all()
