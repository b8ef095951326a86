"""The largest connected part of a mesh: closed forms for balls, cavities and flipped faces."""

from __future__ import annotations

import numpy as np
import pytest

from raylift.metrics.components import largest_component_share
from tests.metrics.shapes import box, sphere


def _joined(*meshes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = [one + start for (_, one), start in zip(meshes, starts[:-1], strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def test_shares_are_volumes() -> None:
    large, small = box((0.4, 0.5, 0.6)), box((0.1, 0.1, 0.2), (0.6, 0.6, 0.6))
    assert largest_component_share(*large) == 1.0
    assert largest_component_share(*_joined(small, large)) == pytest.approx(0.12 / 0.122)
    vertices, faces = _joined(small, large)
    assert largest_component_share(vertices, faces[:, ::-1]) == pytest.approx(0.12 / 0.122)
    assert largest_component_share(vertices + 5.0, faces) == pytest.approx(0.12 / 0.122), "wherever it is"


def test_a_cavity_is_no_part() -> None:
    outer, (vertices, faces) = sphere(0.5, 3), sphere(0.2, 3)
    assert largest_component_share(*_joined(outer, (vertices, faces[:, ::-1]))) == 1.0


def test_nothing_has_no_volume() -> None:
    assert largest_component_share(np.zeros((0, 3)), np.zeros((0, 3), np.int64)) == 0.0
    assert largest_component_share(np.zeros((3, 3)), np.array([[0, 1, 2]])) == 0.0
