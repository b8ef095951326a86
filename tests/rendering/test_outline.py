"""Coverage without shading: closed forms, and the renderer's alpha."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.rendering.outline import outline

SQUARE = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
FACES = np.array([[0, 1, 2], [0, 3, 2]])


def _camera(focal: float, projection: str = "perspective") -> Camera:
    return Camera(
        torch.full((1, 2), focal),
        torch.tensor([[0.25, 0.0]]),
        torch.eye(3)[None],
        torch.tensor([[0.0, 0.0, 2.0]]),
        projection,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_a_square_covers_its_pixels_whichever_way_it_is_wound(projection: str) -> None:
    # Half a world unit at depth 2 is focal / 4 half image sizes: 2 of 16 pixels; u = 0.25 is 2 pixels to the right.
    coverage = outline(SQUARE, FACES, _camera(1.0 if projection == "perspective" else 0.5, projection), 16)
    expected = np.zeros((16, 16), np.uint8)
    expected[6:10, 8:12] = 255
    np.testing.assert_array_equal(coverage, expected)


def test_part_of_a_pixel_is_part_of_its_coverage() -> None:
    coverage = outline(SQUARE, FACES, _camera(1.25), 16)  # 2.5 pixels to each side
    assert coverage[8, 12] == 128
    assert coverage[10, 12] == 64
    assert coverage[8, 9] == 255
    assert coverage.sum() / 255 == pytest.approx(25, abs=0.1)


def test_what_cannot_be_indexed_is_refused() -> None:
    with pytest.raises(DataError, match="vertices 0..9"):
        outline(SQUARE, np.array([[0, 1, 9]]), _camera(1.0), 16)
    with pytest.raises(DataError, match="0 pixels"):
        outline(SQUARE, FACES, _camera(1.0), 0)
