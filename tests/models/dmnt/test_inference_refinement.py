"""Refinement: the pose's Jacobian, both solvers, independence of the batch, and shapes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import project
from raylift.metrics.pose import rotation_error_deg
from raylift.models.dmnt.inference.candidates import Candidates, moved_camera, shifted_camera
from raylift.models.dmnt.inference.config import OffsetKind
from raylift.models.dmnt.inference.evidence import Evidence
from raylift.models.dmnt.inference.levenberg import levenberg_steps
from raylift.models.dmnt.inference.objective import Scene, explain
from raylift.models.dmnt.inference.refinement import adam_steps, cosine_rate
from raylift.models.dmnt.inference.texture_banks import texture_banks
from raylift.models.dmnt.inference.uv_motion import uv_motion
from raylift.rendering.uv_fragments import uv_fragments
from tests.models.dmnt.planted import LEVELS, Pictures, World, pictures, world

SIDE = 24


@pytest.fixture(scope="module")
def planted() -> World:
    return world(3, "smooth", texels=16, channels=16)


def _scene(planted: World, seen: Pictures, price: float = 0.1, weight: float = 0.0) -> Scene:
    banks = texture_banks(planted.texture.texture, planted.texture.seen, 16)
    evidence = Evidence.of(seen.features, planted.texture, banks)
    return Scene(evidence, planted.texture, planted.templates, price, weight, (1.0 / SIDE) ** 2)


def _off(seen: Pictures, step: list[float]) -> Candidates:
    count = len(seen.category)
    camera = moved_camera(seen.camera, torch.tensor([step]).expand(count, -1), "translation")
    return Candidates(torch.arange(count), seen.category, camera, torch.zeros(count, seen.latent.shape[1]))


OFF = [0.15, -0.12, 0.1, 0.08, 0.06, -0.05]
"""13 degrees, 8 % of the distance, and 0.7 pixels away."""


@pytest.mark.parametrize("offset", ["translation", "principal"])
def test_uv_moves_as_finite_differences_say(planted: World, offset: OffsetKind) -> None:
    seen = pictures(planted, 2, SIDE)
    camera = replace(seen.camera.to("cpu", torch.float64), principal=seen.camera.principal.double() + 0.1)
    faces, uvs = planted.templates.faces, planted.templates.corner_uvs
    vertices = planted.templates(seen.category, seen.latent).double()

    def rasterised(at: Camera) -> tuple[Tensor, Tensor]:
        found = uv_fragments(vertices, faces, uvs, at, SIDE)
        return found.uv, found.face

    found = uv_fragments(vertices, faces, uvs, camera, SIDE)
    motion = uv_motion(vertices, faces, uvs, camera, found, offset)
    pixel = (motion.candidate, motion.row, motion.column)
    for axis in range(6):
        step = torch.zeros(2, 6, dtype=torch.float64)
        step[:, axis] = 1e-6
        (ahead, first), (behind, second) = (
            rasterised(moved_camera(camera, step, offset)),
            rasterised(moved_camera(camera, -step, offset)),
        )
        same = ((first == found.face) & (second == found.face))[pixel]
        slope = ((ahead - behind) / 2e-6)[pixel]
        assert same.sum() > 100
        assert (slope - motion.jacobian[..., axis])[same].abs().max() < 1e-4


def test_a_step_of_zeros_changes_no_camera(planted: World) -> None:
    camera = pictures(planted, 2, SIDE).camera
    for offset in get_args(OffsetKind):
        same = moved_camera(camera, torch.zeros(2, 6), offset)
        assert torch.allclose(same.rotation, camera.rotation)
        assert torch.equal(same.translation, camera.translation)
        assert torch.equal(same.principal, camera.principal)


def test_a_shift_moves_the_centre_in_the_image_and_nothing_else(planted: World) -> None:
    camera = pictures(planted, 2, SIDE).camera
    shift = torch.tensor([[0.1, -0.2], [0.05, 0.0]])
    for offset in get_args(OffsetKind):
        moved = shifted_camera(camera, shift, offset)
        center, depth = project(moved, torch.zeros(2, 1, 3))
        assert torch.allclose(center[:, 0], shift, atol=1e-6)
        assert torch.allclose(depth[:, 0], camera.translation[:, 2])
        assert torch.equal(moved.rotation, camera.rotation)


@pytest.mark.parametrize("solver", ["adam", "levenberg"])
def test_the_true_pose_is_found_from_nearby(planted: World, solver: str) -> None:
    """Under occlusion too; where they start, no pose is right."""
    for hidden in LEVELS[0], LEVELS[2]:
        seen = pictures(planted, 8, SIDE, noise=0.5, hidden=hidden)
        scene, start = _scene(planted, seen), _off(seen, OFF)
        before = rotation_error_deg(start.camera.rotation, seen.camera.rotation)
        assert before.min() > 10
        first = explain(scene, start).score
        found, score = adam_steps(scene, start, 40, 0.05) if solver == "adam" else levenberg_steps(scene, start, 15)
        after = rotation_error_deg(found.camera.rotation, seen.camera.rotation)
        assert after.median() < 3
        assert (after < 10).float().mean() >= 0.85
        assert (score >= first).all()
        assert torch.allclose(explain(scene, found).score, score, atol=1e-3)
        if hidden[1] == 0:
            assert (found.camera.translation - seen.camera.translation)[:, :2].abs().mean() < 0.02
            assert (found.camera.translation[:, 2] / seen.camera.translation[:, 2]).log().abs().mean() < 0.02


@pytest.mark.parametrize("solver", ["adam", "levenberg"])
def test_a_candidate_does_not_depend_on_its_batch(planted: World, solver: str) -> None:
    seen = pictures(planted, 4, SIDE, noise=0.5)
    scene, start = _scene(planted, seen, weight=1.0), _off(seen, OFF)

    def run(candidates: Candidates) -> tuple[Candidates, Tensor]:
        if solver == "adam":
            return adam_steps(scene, candidates, 6, 0.05, shape_learning_rate=0.1, prior_weight=0.1)
        return levenberg_steps(scene, candidates, 5)

    together, score = run(start)
    for index in range(4):
        alone, own = run(start[torch.tensor([index])])
        assert torch.allclose(alone.camera.rotation[0], together.camera.rotation[index], atol=1e-4)
        assert torch.allclose(alone.latent[0], together.latent[index], atol=1e-4)
        assert torch.allclose(own[0], score[index], atol=1e-2)


def test_clutter_wins_where_it_explains_better(planted: World) -> None:
    """The score of the true pose is the sum over visible pixels less the price of hidden ones."""
    seen = pictures(planted, 3, SIDE, noise=0.0, hidden=LEVELS[2])
    found = explain(_scene(planted, seen, price=0.1), _off(seen, [0.0] * 6))
    assert torch.equal(found.outline, seen.amodal)
    assert ((found.margin > 0) == seen.visible).float().mean() > 0.98
    expected = found.margin.clamp(min=0).sum((1, 2)) - 0.1 * (seen.amodal & (found.margin < -0.1)).sum((1, 2))
    assert torch.allclose(found.score, expected, atol=0.5)
    free = explain(_scene(planted, seen, price=0.0), _off(seen, [0.0] * 6))
    assert torch.allclose(free.score, free.margin.clamp(min=0).sum((1, 2)), atol=1e-3)


def test_the_outline_alone_has_a_gradient_of_the_scale(planted: World) -> None:
    """Too small an outline grows over pixels of the object, too large a one withdraws from clutter."""
    seen = pictures(planted, 3, SIDE, noise=0.3)
    for log_scale, sign in (0.15, -1.0), (-0.15, 1.0):
        start = _off(seen, [0.0, 0.0, 0.0, log_scale, 0.0, 0.0])
        slopes = []
        for weight in (0.0, 1.0):
            step = torch.zeros(3, 6, requires_grad=True)
            score = explain(_scene(planted, seen, weight=weight), start.moved(step, "translation")).score
            slopes.append(torch.autograd.grad(score.sum(), step)[0][:, 3])
        outline = slopes[1] - slopes[0]
        assert (outline * sign > 0).all()


def _iou(first: Tensor, second: Tensor) -> Tensor:
    return (first & second).sum((1, 2)) / (first | second).sum((1, 2))


def test_a_shape_is_fitted_at_the_true_pose(planted: World) -> None:
    """Rung (b) of the ladder: IoU at least 0.92, and above the undeformed."""
    seen = pictures(planted, 9, SIDE, noise=0.5, deform=1.5)
    scene, start = _scene(planted, seen, weight=1.0), _off(seen, [0.0] * 6)
    before = _iou(explain(scene, start).outline, seen.amodal)
    found, _ = adam_steps(scene, start, 40, 1e-6, shape_learning_rate=0.15, prior_weight=0.1)
    after = _iou(explain(scene, found).outline, seen.amodal)
    assert after.mean() >= 0.92
    assert after.mean() > before.mean() + 0.03
    # A large prior keeps the mean shape.
    kept, _ = adam_steps(scene, start, 10, 1e-6, shape_learning_rate=0.05, prior_weight=1e4)
    assert kept.latent.abs().max() < 0.05


def test_the_learning_rate_falls_along_a_cosine() -> None:
    rates = [cosine_rate(step, 20) for step in range(21)]
    assert rates[0] == 1
    assert rates[20] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.55)
    assert all(after < before for before, after in itertools.pairwise(rates))
