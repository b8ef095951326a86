"""Refinement against an image, with planted shapes and cameras."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera, Mesh
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.cameras import orbit
from raylift.geometry.rotations import axis_angle_to_matrix, matrix_to_quaternion, rotation_angle
from raylift.metrics.silhouette import mask_hard
from raylift.refinement.config import RefinementConfig
from raylift.refinement.refine import refine
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from tests.texturing.surfaces import ellipsoid, smooth_color

OTHERS = [orbit(120.0, 15.0), orbit(210.0, 15.0), orbit(75.0, 40.0)]
QUICK = RefinementConfig(num_steps=100, image_px=64)


def colored(mesh: Mesh) -> Mesh:
    return replace(mesh, vertex_colors=smooth_color(mesh.vertices))


def photograph(mesh: Mesh, camera: Camera, px: int = 128) -> tuple[Tensor, Tensor]:
    seen = render(mesh, camera, px, Lighting.ambient())[0]
    return torch.from_numpy(seen.rgb).permute(2, 0, 1), torch.from_numpy(seen.alpha)


def overlap(first: Mesh, second: Mesh, camera: Camera) -> float:
    return mask_hard(photograph(first, camera)[1].numpy(), photograph(second, camera)[1].numpy())


def weak(azimuth: float, elevation: float) -> Camera:
    quaternion = matrix_to_quaternion(orbit(azimuth, elevation).rotation)
    return from_weak_perspective(WeakPerspective(torch.tensor([0.9]), torch.zeros(1, 2), quaternion))


def bumpy(mesh: Mesh) -> Mesh:
    """Longer, flatter, and with a bump above its right half."""
    x, y, _ = mesh.vertices.unbind(1)
    moved = mesh.vertices * torch.tensor([1.12, 0.85, 1.0])
    moved[:, 1] += 0.08 * torch.exp(-((x - 0.3) ** 2) / 0.02) * (y > 0)
    return replace(mesh, vertices=moved)


@pytest.mark.parametrize("camera", [orbit(30.0, 15.0), weak(30.0, 15.0)], ids=["perspective", "weak"])
def test_a_shape_is_fitted_and_other_views_do_not_pay(camera: Camera) -> None:
    start = colored(ellipsoid())
    truth = bumpy(start)
    image, mask = photograph(truth, camera)
    result = refine(start, camera, image, mask, QUICK)
    assert result.kept
    assert result.after["mask_iou"] > result.before["mask_iou"] + 0.08
    assert result.after["mask"] < result.before["mask"]
    assert overlap(result.mesh, truth, camera) > overlap(start, truth, camera) + 0.04
    for view in OTHERS:
        assert overlap(result.mesh, truth, view) > overlap(start, truth, view) - 0.005
    assert result.mesh.vertex_colors is start.vertex_colors
    assert "mask IoU" in result.note


@pytest.mark.parametrize("true_camera", [orbit(30.0, 15.0), weak(30.0, 15.0)], ids=["perspective", "weak"])
def test_a_camera_is_found_again_in_part(true_camera: Camera) -> None:
    mesh = colored(ellipsoid())
    image, mask = photograph(mesh, true_camera)
    turn = axis_angle_to_matrix(torch.tensor([[0.0, math.radians(5), 0.0]]))
    wrong = replace(
        true_camera,
        rotation=turn @ true_camera.rotation,
        focal=true_camera.focal * 1.03,
        principal=true_camera.principal + 0.03,
    )
    found = refine(mesh, wrong, image, mask, QUICK).camera
    assert rotation_angle(found.rotation, true_camera.rotation) < math.radians(4)
    assert (found.focal / true_camera.focal).log().abs().max() < math.log(1.03) * 0.7
    assert (found.principal - true_camera.principal).abs().max() < 0.01
    assert found.projection == true_camera.projection


def test_no_steps_change_nothing() -> None:
    mesh, camera = colored(ellipsoid(2)), orbit(30.0, 15.0)
    image, mask = photograph(bumpy(mesh), camera)
    result = refine(mesh, camera, image, mask, replace(QUICK, num_steps=0))
    assert torch.equal(result.mesh.vertices, mesh.vertices)
    assert torch.equal(result.camera.rotation, camera.rotation)
    assert (result.kept, result.note) == (False, "not refined: no steps")


def test_what_cannot_be_refined_is_returned_with_a_reason() -> None:
    mesh, camera = ellipsoid(1), orbit(30.0, 15.0)
    image, mask = photograph(mesh, camera, 32)
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    for given, shown, reason in (
        (Mesh(mesh.vertices, mesh.faces[:0]), mask, "the mesh has no faces"),
        (mesh, torch.zeros_like(mask), "the mask is empty"),
        (Mesh(mesh.vertices, fan), mask, "more than two faces"),
    ):
        result = refine(given, camera, image, shown, QUICK)
        assert reason in result.note
        assert not result.kept
        assert torch.equal(result.mesh.vertices, given.vertices)


def test_a_worse_mesh_is_not_kept() -> None:
    mesh, camera = colored(ellipsoid(2)), orbit(30.0, 15.0)
    image, mask = photograph(mesh, camera)
    config = replace(QUICK, num_steps=4, mask_weight=0.0, laplacian_weight=1e4, learning_rate=0.2, camera_share=0.0)
    result = refine(mesh, camera, image, mask, config)
    assert not result.kept
    assert result.note.startswith("refinement dropped")
    assert result.after["mask_iou"] < result.before["mask_iou"]
    assert torch.equal(result.mesh.vertices, mesh.vertices)


def test_the_published_steps_reach_no_farther_than_a_voxel() -> None:
    mesh, camera = colored(ellipsoid(2)), orbit(30.0, 15.0)
    image, mask = photograph(bumpy(mesh), camera)
    paper = replace(RefinementConfig.paper(), num_steps=30, image_px=48)
    result = refine(mesh, camera, image, mask, paper)
    assert result.kept
    moved = (result.mesh.vertices - mesh.vertices).abs().max()
    assert 0 < moved < 30 * 1e-4 * 1.3  # Adam's steps are about its rate


def test_colours_turn_what_the_mask_cannot() -> None:
    """A sphere's silhouette does not say how it is turned; its colours do."""
    ball = colored(ellipsoid(3, (0.4, 0.4, 0.4)))
    camera = orbit(30.0, 15.0)
    image, mask = photograph(ball, camera)
    turn = axis_angle_to_matrix(torch.tensor([[0.0, 0.0, math.radians(8)]]))
    wrong = replace(camera, rotation=turn @ camera.rotation, focal=camera.focal * 1.05)
    config = replace(QUICK, color_weight=30.0)
    with_color = refine(ball, wrong, image, mask, config)
    without = refine(ball, wrong, image, mask, replace(config, color_weight=0.0))
    angles = [float(rotation_angle(one.camera.rotation, camera.rotation)) for one in (with_color, without)]
    assert angles[0] < math.radians(4)
    assert angles[1] > math.radians(6)


def test_progress_is_told() -> None:
    mesh, camera = ellipsoid(1), orbit(30.0, 15.0)
    image, mask = photograph(mesh, camera, 32)
    steps: list[tuple[int, int]] = []
    refine(mesh, camera, image, mask, replace(QUICK, num_steps=3), lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_bad_input_is_refused() -> None:
    mesh, camera = ellipsoid(1), orbit(30.0, 15.0)
    image, mask = photograph(mesh, camera, 32)
    with pytest.raises(DataError, match="do not fit"):
        refine(mesh, camera, image, mask[:16], QUICK)
    with pytest.raises(DataError, match="not finite"):
        refine(replace(mesh, vertices=mesh.vertices / 0), camera, image, mask, QUICK)
    for wrong in ({"num_steps": -1}, {"image_px": 4}, {"mask_weight": float("nan")}, {"sigma": 0.0}):
        with pytest.raises(ConfigError, match="refinement"):
            RefinementConfig(**wrong)
