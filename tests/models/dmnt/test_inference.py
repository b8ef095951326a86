"""The whole inference on planted worlds: the ladder's rungs (a), (c) and (d), its maps and meshes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Mesh
from raylift.geometry.cameras import orbit
from raylift.geometry.octahedral import octasphere
from raylift.metrics.pose import rotation_error_deg
from raylift.models.dmnt.inference.config import InferenceConfig, StartConfig
from raylift.models.dmnt.inference.pipeline import Matcher, fit_images
from raylift.models.dmnt.inference.posterior import ClassPosterior
from raylift.models.dmnt.inference.recognition import colored_mesh, fitted_meshes, recognise_features
from raylift.rendering.uv_fragments import uv_fragments
from tests.models.dmnt.planted import LEVELS, World, pictures, world

SIDE = 24
FAST = InferenceConfig(
    StartConfig(max_texels=16), num_categories=2, num_starts=4, pose_steps=16, drop_after=6, shape_steps=10
)


@pytest.fixture(scope="module")
def planted() -> World:
    return world(3, "smooth", texels=16, channels=16, level=6)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    return (first & second).sum((-1, -2)) / (first | second).sum((-1, -2))


@pytest.mark.parametrize("look", ["smooth", "white"])
def test_rung_a_a_rendered_bank_gives_its_pose_back(look: str) -> None:
    """Category known: at least 99 % within pi / 18, where the best constant answer has a few percent."""
    shown = world(2, "smooth" if look == "smooth" else "white", texels=16, channels=16, level=6)
    seen = pictures(shown, 16, SIDE, noise=0.7)
    matcher = Matcher.of(shown.texture, shown.templates, replace(FAST, pose_steps=24, shape_steps=0), SIDE)
    found = fit_images(matcher, seen.features, seen.category).best
    assert (rotation_error_deg(found.camera.rotation, seen.camera.rotation) < 10).float().mean() >= 0.99
    poses = matcher.table.camera.rotation.double()
    error = torch.stack([rotation_error_deg(pose.expand(16, 3, 3), seen.camera.rotation) for pose in poses])
    assert (error < 10).float().mean(1).max() <= 0.2


def test_rungs_c_and_d_unknown_objects_half_hidden(planted: World) -> None:
    """Category, pose, shape and outline of deformed objects at L2, better than what is constant."""
    seen = pictures(planted, 12, SIDE, noise=0.5, hidden=LEVELS[2], deform=0.7)
    matcher = Matcher.of(planted.texture, planted.templates, FAST, SIDE)
    found, fits = recognise_features(matcher, ClassPosterior(0.01, 0.0), seen.features, SIDE)
    right = found.log_probs[:, :3].argmax(1) == seen.category
    assert right.float().mean() >= 0.9
    assert torch.equal(fits.best.category, found.log_probs[:, :3].argmax(1))
    assert (rotation_error_deg(found.camera.rotation, seen.camera.rotation) < 30).float().mean() >= 0.75
    iou = _iou(found.amodal[:, 0] > 0.5, seen.amodal)
    constant = _iou((seen.amodal.float().mean(0) > 0.5).expand(12, -1, -1), seen.amodal)
    assert iou.mean() > max(0.8, float(constant.mean()))
    hidden = seen.amodal & ~seen.visible
    assert found.occluder[:, 0][hidden].mean() > 2 * found.occluder[:, 0][seen.visible].mean()
    assert _iou(found.visible[:, 0] > 0.5, seen.visible).mean() > 0.7


def test_maps_are_probabilities_that_add_up(planted: World) -> None:
    seen = pictures(planted, 2, SIDE)
    matcher = Matcher.of(planted.texture, planted.templates, replace(FAST, pose_steps=2, shape_steps=0), SIDE)
    found, _ = recognise_features(matcher, ClassPosterior(0.01, 0.0), seen.features, 48, seen.category)
    assert found.amodal.shape == found.visible.shape == found.occluder.shape == (2, 1, 48, 48)
    for part in (found.amodal, found.visible, found.occluder, found.log_probs.exp()):
        assert part.min() >= 0
        assert part.max() <= 1
    assert torch.allclose(found.visible + found.occluder, found.amodal, atol=1e-6)


def test_clutter_alone_is_none_of_them(planted: World) -> None:
    seen = pictures(planted, 3, SIDE, noise=0.3)
    clutter = planted.texture.clutter[torch.randint(16, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))]
    features = torch.cat([seen.features, clutter.movedim(-1, 1)])
    matcher = Matcher.of(planted.texture, planted.templates, FAST, SIDE)
    log_probs = recognise_features(matcher, ClassPosterior(0.01, 0.02), features, SIDE)[0].log_probs
    assert (log_probs[:3].argmax(1) == seen.category).all()
    assert (log_probs[3:].argmax(1) == 3).all()


def test_the_answer_for_an_image_does_not_depend_on_its_batch(planted: World) -> None:
    seen = pictures(planted, 3, SIDE, noise=0.5)
    matcher = Matcher.of(planted.texture, planted.templates, replace(FAST, pose_steps=8, shape_steps=4), SIDE)
    together, alone = fit_images(matcher, seen.features), fit_images(matcher, seen.features[1:2])
    assert torch.allclose(together.scores[1:2], alone.scores, atol=1e-5)
    assert torch.allclose(together.best.camera.rotation[1:2], alone.best.camera.rotation, atol=1e-3)
    assert torch.allclose(together.best.latent[1:2], alone.best.latent, atol=1e-2)


def test_feature_maps_must_be_square(planted: World) -> None:
    matcher = Matcher.of(planted.texture, planted.templates, FAST, SIDE)
    with pytest.raises(DataError, match="square"):
        fit_images(matcher, torch.zeros(1, 16, SIDE, SIDE + 1))


def test_vertices_have_the_colours_of_the_image() -> None:
    """A ball, half red and half blue, from the front: what is hidden takes its mirror image's colour, or the mean."""
    vertices, faces, _ = octasphere(8)
    ball, camera = Mesh(0.5 * vertices, faces), orbit(0, 0)
    image = torch.zeros(3, 64, 64)
    image[0, :, :32], image[2, :, 32:] = 1, 1
    seen = uv_fragments(ball.vertices[None], faces, torch.zeros(len(faces), 3, 2), camera, 64).mask[0].float()
    front = vertices[:, 2] > 0.7
    left, right, back = front & (vertices[:, 0] < -0.25), front & (vertices[:, 0] > 0.25), vertices[:, 2] < -0.5
    red, blue = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    colors = colored_mesh(ball, camera, image, seen).vertex_colors
    assert colors is not None
    assert torch.allclose(colors[left], red.expand(int(left.sum()), 3), atol=0.3)
    assert torch.allclose(colors[right], blue.expand(int(right.sum()), 3), atol=0.3)
    assert torch.allclose(colors[back], (0.5 * (red + blue)).expand(int(back.sum()), 3), atol=0.05)
    seen[:, :36] = 0  # the left half is hidden
    mirrored = colored_mesh(ball, camera, image, seen).vertex_colors
    assert mirrored is not None
    assert torch.allclose(mirrored[left], blue.expand(int(left.sum()), 3), atol=0.3)
    blank = colored_mesh(ball, camera, image, torch.zeros(64, 64)).vertex_colors
    assert blank is not None
    assert torch.equal(blank, torch.full_like(vertices, 0.5))


def test_fitted_meshes_are_in_the_pose_of_the_fit(planted: World) -> None:
    seen = pictures(planted, 2, SIDE)
    matcher = Matcher.of(planted.texture, planted.templates, replace(FAST, pose_steps=2, shape_steps=0), SIDE)
    fits = fit_images(matcher, seen.features, seen.category)
    meshes = fitted_meshes(fits, torch.rand(2, 3, 48, 48), torch.ones(2, 1, 48, 48))
    for index, (mesh, camera) in enumerate(meshes):
        assert torch.equal(camera.rotation, fits.best.camera.rotation[index : index + 1])
        assert torch.allclose(mesh.vertices, planted.templates(seen.category, torch.zeros(2, 4))[index])
        assert mesh.vertex_colors is not None
        assert mesh.corner_uvs is not None
