"""Equations 7 to 12, 33 and 34 against loops and closed forms."""

from __future__ import annotations

import pytest
import torch

from raylift.geometry.cameras import pixel_centers
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.uv_sphere import corner_uvs, face_sample_uvs, texel_map
from raylift.losses.flow_alignment import (
    FaceCentroids,
    face_centroids,
    face_flow,
    flow_alignment_error,
    flow_cycle_error,
    side_seen_more,
)
from raylift.losses.texture_flow import (
    masked_mean,
    reconstruction_loss,
    sample_adaptively,
    sample_by_flow,
    sample_varied_by_flow,
    texture_on_faces,
)
from raylift.losses.unseen_texture import seen_faces, seen_texels
from raylift.rendering.soft_blend import face_pixel_sums


def _bilinear(image: torch.Tensor, u: float, v: float) -> torch.Tensor:
    """One reading of [C, H, W], pixel by pixel."""
    _, height, width = image.shape
    x, y = ((u + 1) * width - 1) / 2, ((v + 1) * height - 1) / 2
    total = torch.zeros(image.shape[0], dtype=image.dtype)
    for i in range(height):
        for j in range(width):
            total += image[:, i, j] * max(0.0, 1 - abs(x - j)) * max(0.0, 1 - abs(y - i))
    return total


def test_equations_7_8_and_11_equal_a_loop() -> None:
    image = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    variance = 0.5 + torch.rand(1, 1, 5, 6, dtype=torch.float64)
    flow = 0.7 * (2 * torch.rand(1, 2, 2, 3, dtype=torch.float64) - 1)
    plain, varied = sample_by_flow(image, flow), sample_varied_by_flow(image, variance, flow)
    for i in range(2):
        for j in range(3):
            u, v = flow[0, :, i, j].tolist()
            torch.testing.assert_close(plain[0, :, i, j], _bilinear(image[0], u, v))
            torch.testing.assert_close(varied[0, :, i, j], _bilinear(image[0] * variance[0], u, v))
    assert torch.equal(sample_varied_by_flow(image, torch.ones_like(image), flow), plain)


def test_equation_9_paints_each_face_with_its_texels() -> None:
    """A texture that says which direction a texel lies in is read where the faces are."""
    template = symmetric_icosphere(2)
    uvs = face_sample_uvs(corner_uvs(template.vertices, template.faces), 3)
    texture = torch.zeros(1, 1, 64, 128)
    texture[..., 64:] = 1.0  # the half at x > 0
    colors = texture_on_faces(texture, uvs)[0, :, :, 0]
    sideways = template.vertices[template.faces][..., 0]
    assert float(colors[(sideways > 0.05).all(dim=1)].min()) > 0.9999
    assert float(colors[(sideways < -0.05).all(dim=1)].max()) < 0.0001


def test_figure_6_reads_the_image_and_moves_by_the_varied_one() -> None:
    image, flow = torch.rand(2, 3, 6, 6, dtype=torch.float64), (torch.rand(2, 2, 4, 8, dtype=torch.float64) - 0.5)
    variance = (0.5 + torch.rand(2, 1, 6, 6, dtype=torch.float64)).requires_grad_()
    flow.requires_grad_()
    texture = sample_adaptively(image, variance, flow)
    torch.testing.assert_close(texture, sample_by_flow(image, flow))
    pull = torch.rand_like(texture)
    slopes = torch.autograd.grad((texture * pull).sum(), (flow, variance), allow_unused=True)
    (expected,) = torch.autograd.grad((sample_varied_by_flow(image, variance, flow) * pull).sum(), flow)
    torch.testing.assert_close(slopes[0], expected)
    assert slopes[1] is None, "colours do not repaint the image"


def test_equation_10_and_masks() -> None:
    rendered, image = torch.rand(2, 2, 3, 4, 4, dtype=torch.float64)
    error = reconstruction_loss(rendered, image)
    expected = sum(abs(float(rendered[1, c, 2, 3] - image[1, c, 2, 3])) for c in range(3)) / 3
    assert float(error[1, 2, 3]) == pytest.approx(expected)
    mask = torch.zeros(2, 4, 4, dtype=torch.float64)
    mask[0, 1, 2] = 1
    assert masked_mean(error, mask).tolist() == pytest.approx([float(error[0, 1, 2]), 0.0])


def _fragments() -> tuple[torch.Tensor, torch.Tensor]:
    pix_to_face = torch.randint(-1, 4, (2, 5, 6, 3))
    pix_to_face[pix_to_face == 3] = -1  # face 3 is never seen
    return torch.rand(2, 5, 6, 3, dtype=torch.float64), pix_to_face


def test_equation_12_second_term_equals_a_loop() -> None:
    weights, pix_to_face = _fragments()
    seen = face_centroids(*face_pixel_sums(pix_to_face, weights, 5))
    grid = pixel_centers(5, 6, dtype=torch.float64)
    for b in range(2):
        for face in range(3):
            total, where = 0.0, torch.zeros(2, dtype=torch.float64)
            for i in range(5):
                for j in range(6):
                    for k in range(3):
                        if int(pix_to_face[b, i, j, k]) == face:
                            total += float(weights[b, i, j, k])
                            where += weights[b, i, j, k] * grid[i, j]
            torch.testing.assert_close(seen.position[b, face], where / total)
    assert seen.is_seen.tolist() == [[True, True, True, False, False]] * 2
    assert not seen.position[:, 3:].any()


def test_equation_12_is_zero_when_the_flow_reads_faces_where_they_are() -> None:
    template = symmetric_icosphere(1)
    uvs = face_sample_uvs(corner_uvs(template.vertices, template.faces), 6)
    flow = torch.zeros(2, 2, 8, 16, dtype=torch.float64)
    flow[:, 0], flow[:, 1] = 0.25, -0.5
    torch.testing.assert_close(face_flow(flow, uvs.double())[0, 7], torch.tensor([0.25, -0.5]).double())
    weights, pix_to_face = _fragments()
    seen = face_centroids(*face_pixel_sums(pix_to_face, weights, len(template.faces)))
    exact = seen._replace(position=torch.tensor([0.25, -0.5]).double().expand_as(seen.position))
    assert float(flow_alignment_error(flow, uvs.double(), exact).max()) < 1e-12
    error = flow_alignment_error(flow, uvs.double(), seen)
    expected = (torch.tensor([0.25, -0.5]).double() - seen.position[0, 1]).norm()
    torch.testing.assert_close(error[0, 1], expected)
    assert not error[:, 3:].any()


def test_gradients_of_equation_12() -> None:
    weights, pix_to_face = _fragments()
    uvs = torch.rand(5, 4, 2, dtype=torch.float64)
    flow = torch.rand(2, 2, 4, 8, dtype=torch.float64, requires_grad=True)
    weights.requires_grad_()
    seen = face_centroids(*face_pixel_sums(pix_to_face, weights, 5))
    for error in (flow_alignment_error, flow_cycle_error):
        assert torch.autograd.gradcheck(lambda f, e=error: e(f, uvs, seen), flow, fast_mode=True)
        assert torch.autograd.grad(error(flow, uvs, seen).sum(), weights, allow_unused=True) == (None,)
    squared = flow_alignment_error(flow, uvs, seen).square() / 2
    torch.testing.assert_close(flow_cycle_error(flow, uvs, seen), squared)


def test_of_two_mirrored_faces_the_side_that_is_seen_more_counts() -> None:
    """Both sides of a symmetric texture have labels at different places: one flow can satisfy the counted ones."""
    mirror = torch.tensor([0, 2, 1, 4, 3])
    weight = torch.tensor([[3.0, 1.0, 2.0, 5.0, 5.0], [0.0, 4.0, 0.0, 0.0, 7.0]])
    seen = FaceCentroids(torch.rand(2, 5, 2), weight, weight > 0)
    counted = side_seen_more(seen, mirror)
    assert counted.weight.tolist() == [[3.0, 0.0, 2.0, 5.0, 0.0], [0.0, 4.0, 0.0, 0.0, 7.0]]
    assert torch.equal(counted.is_seen, counted.weight > 0)
    assert torch.equal(counted.position[0, 2], seen.position[0, 2])


def test_equations_33_and_34_part_a_texture() -> None:
    template = symmetric_icosphere(1)
    texel_face = texel_map(template.vertices, template.faces, 16, 32).face
    nearest = torch.full((2, 4, 4), -1)
    nearest[0, 1, 1], nearest[0, 2, 2], nearest[1, 0, 0] = 5, 9, 0
    faces = seen_faces(nearest, len(template.faces))
    assert [row.nonzero().flatten().tolist() for row in faces] == [[5, 9], [0]]
    seen = seen_texels(faces, texel_face)
    assert torch.equal(seen[0], (texel_face == 5) | (texel_face == 9))
    assert torch.equal(seen[1], texel_face == 0)
