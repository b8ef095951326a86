"""Likeness of shapes to what a camera sees, on boxes whose surface is known."""

from __future__ import annotations

import pytest
import torch

from raylift.core.types import Camera
from raylift.geometry.cameras import orbit
from raylift.networks.shape_bank import Search, ShapeBank
from raylift.networks.shape_likeness import DepthLikeness, Shapes, SilhouetteLikeness
from tests.networks import boxes

ALL = boxes.examples(num_views=2, num_points=400, resolution=32)
SHAPES = Shapes(ALL.points, ALL.sdf.clamp(-0.1, 0.1))
RIGID = torch.ones(len(boxes.SIZES), 1, 3)


def of_depth(size: torch.Tensor, camera: Camera) -> DepthLikeness:
    return DepthLikeness(boxes.depth(size, camera, 64), camera)


def test_the_box_that_is_seen_is_the_most_alike() -> None:
    seen = boxes.cameras(len(boxes.SIZES), 99)
    for index, size in enumerate(boxes.SIZES):
        distances = of_depth(size, seen[index]).distances(SHAPES, RIGID)[:, 0]
        assert float(distances[index]) < 0.15, "a cell of the grid, and half a pixel"
        # Boxes that differ in their hidden depth alone may tie.
        assert float(distances[index]) < float(distances.min()) + 0.01


def test_both_a_missing_part_and_one_in_free_space_count() -> None:
    """From above: a flat box under a high one's top misses its surface, a high one stands where a flat one's is not."""
    flat, high = torch.tensor([0.5, 0.12, 0.5]), torch.tensor([0.5, 0.3, 0.5])
    which = [int((boxes.SIZES - size).abs().sum(1).argmin()) for size in (flat, high)]
    camera = orbit(30.0, 80.0)
    pair = SHAPES[torch.tensor(which)]
    for size, own in ((flat, 0), (high, 1)):
        distances = of_depth(size, camera).distances(pair, RIGID[:2])[:, 0]
        assert float(distances[1 - own]) > float(distances[own]) + 0.4


def test_a_stretch_is_as_good_as_the_stretched_box() -> None:
    made, wanted = torch.tensor([0.5, 0.3, 0.3]), torch.tensor([0.5, 0.3, 0.5])
    index = int((boxes.SIZES - made).abs().sum(1).argmin())
    likeness = of_depth(wanted, orbit(70.0, 40.0))
    stretches = torch.stack([torch.ones(3), wanted / made])[None]
    rigid, stretched = likeness.distances(SHAPES[torch.tensor([index])], stretches)[0].tolist()
    assert stretched < 0.2
    assert rigid > stretched + 0.2


@pytest.mark.parametrize("kind", ["silhouette", "depth"])
def test_shapes_and_stretches_do_not_disturb_one_another(kind: str) -> None:
    camera = orbit(40.0, 20.0)
    size = boxes.SIZES[4]
    likeness = (
        of_depth(size, camera) if kind == "depth" else SilhouetteLikeness(boxes.coverage(size, camera, 64), camera)
    )
    stretches = 1 + 0.3 * torch.rand(len(boxes.SIZES), 5, 3, generator=torch.Generator().manual_seed(0))
    together = likeness.distances(SHAPES, stretches)
    for index, tried in ((0, 4), (7, 0), (12, 2)):
        alone = likeness.distances(SHAPES[torch.tensor([index])], stretches[index : index + 1, tried : tried + 1])
        torch.testing.assert_close(alone[0, 0], together[index, tried])


def test_depth_tells_boxes_apart_that_fill_the_same_silhouette() -> None:
    """Seen along z, boxes of one width and height differ in nothing but where their front is."""
    bank = ShapeBank()
    bank.keep(ALL)
    camera = orbit(0.0, 0.0)
    wanted = [index for index, size in enumerate(boxes.SIZES.tolist()) if size[:2] == pytest.approx([0.5, 0.3])]
    assert len(wanted) == 3
    for index in wanted:
        depth = boxes.depth(boxes.SIZES[index], camera, 64)
        near = bank.nearest((depth > 0).float()[None], camera, ["photo#0"], 1, Search(num_stretched=0), depth[None])
        assert int(near.indices) == index
