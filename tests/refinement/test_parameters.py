"""The parameters of a refinement: smooth offsets, small changes of a camera, and the window of the object."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.types import Camera
from raylift.geometry.cameras import orbit, project
from raylift.geometry.laplacian import adjacency
from raylift.refinement.camera_change import CameraChange
from raylift.refinement.smooth_steps import SmoothOffsets
from raylift.refinement.window import Window, window_around
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from tests.texturing.surfaces import ellipsoid


def test_offsets_solve_the_smoothed_system() -> None:
    mesh = ellipsoid(1)
    edges = adjacency(mesh.faces, len(mesh.vertices))
    latent = torch.randn(len(mesh.vertices), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offsets = SmoothOffsets(edges, 7.0)(latent)
    matrix = torch.zeros(len(latent), len(latent), dtype=torch.float64)
    first, second = edges.edges.T
    matrix[first, second] = matrix[second, first] = -1.0
    matrix += torch.diag(edges.degree.double())
    assert torch.allclose(offsets + 7.0 * matrix @ offsets, latent)
    assert torch.allclose(offsets.sum(0), latent.sum(0))  # a common motion is unchanged
    assert SmoothOffsets(edges, 0.0)(latent) is latent
    ball = ellipsoid(0)
    smooth = SmoothOffsets(adjacency(ball.faces, 12), 3.0)
    assert torch.autograd.gradcheck(smooth, torch.randn(12, 3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_a_camera_turns_about_the_object_s_centre(projection: str) -> None:
    camera = replace(orbit(20.0, 10.0), projection=projection)
    change = CameraChange()
    same = change.apply_to(camera)
    assert all(torch.equal(getattr(same, name), getattr(camera, name)) for name in ("focal", "principal", "rotation"))
    assert float(change.square().detach()) == 0
    with torch.no_grad():
        change.turn += torch.tensor([0.1, -0.2, 0.05])
        change.shift += torch.tensor([0.05, -0.02])
        change.log_scale += 0.1
    origin = torch.zeros(1, 1, 3)
    before, after = project(camera, origin)[0], project(change.apply_to(camera), origin)[0]
    assert torch.allclose(after - before, torch.tensor([0.05, -0.02]), atol=1e-6)
    rotation = change.apply_to(camera).rotation[0]
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-6)


@pytest.mark.parametrize("azimuth", [0.0, 50.0])
def test_a_window_s_image_is_what_its_camera_sees(azimuth: float) -> None:
    mesh, camera = ellipsoid(2), orbit(azimuth, 20.0)
    camera = replace(camera, principal=torch.tensor([[0.3, -0.2]]))
    full = torch.from_numpy(render(mesh, camera, 192, Lighting.ambient(), supersample=4)[0].alpha)
    window = window_around(mesh, camera, full)
    assert window.half < 0.7
    cut = window.cut(full[None], 48)[0, 0]
    seen = torch.from_numpy(render(mesh, window.of_camera(camera), 48, Lighting.ambient(), supersample=4)[0].alpha)
    assert (cut - seen).abs().mean() < 0.01
    border = torch.cat([cut[0], cut[-1], cut[:, 0], cut[:, -1]])
    assert float(border.max()) < 1e-3
    assert max(cut.any(0).sum(), cut.any(1).sum()) > 36  # the object fills it


def test_a_window_is_no_larger_than_its_image() -> None:
    mesh, camera = ellipsoid(1), orbit(0.0, 0.0)
    assert window_around(mesh, camera, torch.ones(16, 16)) == Window(0.0, 0.0, 1.0)
    image = torch.rand(3, 16, 16)
    assert torch.allclose(Window(0.0, 0.0, 1.0).cut(image, 16).mean(), image.mean(), atol=0.01)
    assert isinstance(Window(0.0, 0.0, 1.0).of_camera(camera), Camera)
