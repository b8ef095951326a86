"""The overlap of a placed shape agrees with closed forms up to a cell, wherever its own world is."""

from __future__ import annotations

import numpy as np
import pytest

from raylift.metrics.box_volume import BoxVolume
from raylift.metrics.shape_pair import Shape
from tests.metrics.shapes import sphere


def test_overlap_is_the_iou_of_placed_balls_up_to_a_cell() -> None:
    vertices, faces = sphere(0.4, 4)
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (40_000, 3))
    truth = np.linalg.norm(points, axis=1) < 0.4
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    offset = np.array([0.3, -0.1, 0.2])
    # Its own world is turned, twice the size and elsewhere: own = 2 (x - offset) @ turn.
    volume = BoxVolume.of(Shape(2 * (vertices - offset) @ turn, faces))
    assert volume.overlap(points, truth, 2 * turn, offset) == pytest.approx(1.0, abs=0.04)
    assert volume.overlap(points, truth, 4 * turn, offset / 2) < 0.2, "of half the size, and elsewhere"
    half = np.linalg.norm(points, axis=1) < 0.3
    assert volume.overlap(points, half, 2 * turn, offset) == pytest.approx((0.3 / 0.4) ** 3, abs=0.04)


def test_nothing_overlaps_nothing() -> None:
    volume = BoxVolume.of(Shape(np.zeros((0, 3)), np.zeros((0, 3), np.int64)))
    points = np.zeros((10, 3))
    assert volume.overlap(points, np.ones(10, bool), np.eye(3), np.zeros(3)) == 0.0
    assert volume.overlap(points, np.zeros(10, bool), np.eye(3), np.zeros(3)) == 1.0
