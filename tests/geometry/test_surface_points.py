"""Points on batches of meshes."""

from __future__ import annotations

import torch

from raylift.geometry.octahedral import octasphere
from raylift.geometry.surface_points import surface_points


def test_points_are_uniform_over_the_area_whatever_the_size_of_faces() -> None:
    # A unit square of one large and many small triangles would draw as many points from each without areas.
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 4], [0, 4, 3]])
    uniforms = torch.rand(1, 20_000, 3, generator=torch.Generator().manual_seed(0))
    points = surface_points(vertices[None], faces, uniforms)[0]
    for axis in range(2):
        counts = torch.histc(points[:, axis], bins=4, min=0, max=1)
        assert bool(((counts - 5000).abs() < 250).all())


def test_points_are_on_their_mesh_and_move_with_its_vertices() -> None:
    sphere, faces, _ = octasphere(6)
    vertices = torch.stack([sphere, 2 * sphere]).double().requires_grad_()
    uniforms = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(1)).double()
    points = surface_points(vertices, faces, uniforms)
    radii = points.norm(dim=-1)
    assert bool((radii[0] < 1).all())
    assert bool((radii[0] > 0.97).all())
    assert bool((radii[1] > 1.94).all())
    (grad,) = torch.autograd.grad(points[0].sum(), vertices)
    torch.testing.assert_close(grad[0].sum(), torch.tensor(150.0).double())  # weights of a point's corners add up to 1
    assert not bool(grad[1].any())


def test_a_draw_at_the_end_and_a_face_without_area_are_safe() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0]]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])  # the second one has no area
    point = surface_points(vertices, faces, torch.tensor([[[1 - 1e-8, 0.5, 0.5]]]))
    assert bool(torch.isfinite(point).all())
