"""CMR's and UCMR's own: a trained mean shape, where it starts, losses by fitted cameras, predicted colours."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.core.step_info import StepInfo
from raylift.models import catalogue
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.model import MeshTextureModel
from tests.models.mesh_texture_samples import NUM_IMAGES, ellipsoids, rows
from tests.models.test_mesh_texture import build, reached_by, train

WHOLE = ellipsoids(NUM_IMAGES, 32)


def solved(*overrides: str) -> MeshTextureModel:
    """CMR after the first step of its second epoch, when it has seen all keypoints."""
    _, model = build("mesh_texture/cmr-test", *overrides)
    for step in range(2):
        carry = model.losses("generator", WHOLE, StepInfo(step, 9, step), {}).carry
        model.after_step(StepInfo(step, 9, step), carry)
    return model


def test_the_template_becomes_the_hull_of_the_keypoints() -> None:
    model = solved()
    assert model.keypoints is not None
    template, structure = model.network.template.vertices.detach(), model.keypoints.structure
    edges = (template.amax(dim=0) - template.amin(dim=0)) / (structure.amax(dim=0) - structure.amin(dim=0))
    assert bool(((edges > 0.7) & (edges < 1.01)).all()), "an octahedron's, of six tips"
    extent = template.amax(dim=0) - template.amin(dim=0)
    assert float(extent[2] / extent[1]) > 1.1, "longest from front to back, as the ellipsoids are"
    kept = solved("model.shape.from_keypoints=false").network.template.vertices.detach()
    torch.testing.assert_close(kept.norm(dim=1), torch.full((len(kept),), 0.5))


def test_cmr_takes_its_losses_by_the_fitted_cameras() -> None:
    """D_cam learns those cameras and nothing else; silhouettes and keypoints never pull at it."""
    model = solved()
    batch = WHOLE.select(slice(0, 4))
    assert model.keypoints is not None
    fitted = model.keypoints.fitted(batch["keypoints"])
    state = ForwardState(model.network, batch, StepInfo(2, 9, 2))
    assert torch.equal(model.keypoints.with_fitted_cameras(state).cameras.scale[:, 0], fitted.scale)
    for term in ("mask_squares", "keypoint", "reconstruction"):
        assert "camera" not in reached_by(model, term, batch), term
    assert reached_by(model, "camera", batch) == {"encoder", "camera"}
    hidden = rows(batch, [0, 1])
    hidden["keypoints"][1, 1:, 2] = 0
    own = model.keypoints.with_fitted_cameras(ForwardState(model.network, hidden, StepInfo(2, 9, 2))).cameras
    regressed = model.network.decode(hidden).regressed
    assert torch.equal(own.quaternion[1], regressed.quaternion[1]), "too few keypoints tell no camera"


@pytest.mark.parametrize("name", ["cmr-test", "ucmr-test"])
def test_the_mean_shape_is_trained_and_not_charged_for(name: str) -> None:
    recipe, model = build(f"mesh_texture/{name}", "optimizers.default.learning_rate=0.01")
    start = model.network.template.vertices.detach().clone()
    assert "network.template.positions" in dict(model.named_parameters())
    train(recipe, model, 6)
    moved = (model.network.template.vertices.detach() - start).norm(dim=1)
    assert float(moved.mean()) > 0.005
    terms = {
        term.name: term for term in model.losses("generator", WHOLE.select(slice(0, 2)), StepInfo(9, 99, 9), {}).terms
    }
    (slope,) = torch.autograd.grad(
        terms["deform"].share, model.network.template.positions, allow_unused=True, materialize_grads=True
    )
    assert not bool(slope.any())


def test_ucmr_predicts_colours_that_no_picture_is_read_for() -> None:
    _, model = build("mesh_texture/ucmr-test")
    assert model.network.flow is None
    assert not model.request.object_colors
    assert reached_by(model, "reconstruction", WHOLE.select(slice(0, 2))) >= {"colors", "shape", "template"}
    model.eval()
    (first, *_) = model.reconstruct(WHOLE.select(slice(0, 2)))
    texture = first.shape.texture  # type: ignore[union-attr]
    assert texture is not None
    assert float((texture - 0.5).abs().max()) < 0.1, "grey at the start, whatever the image shows"
    with pytest.raises(ConfigError, match="predicted colours"):
        catalogue.get("mesh_texture/ucmr-test", ["model.weights.cycle=1"])


def test_templates_start_as_ellipsoids_with_the_spheres_texture() -> None:
    _, model = build("mesh_texture/umr-test.stage1", "model.shape.radii=[0.2,0.3,0.5]")
    _, round_one = build("mesh_texture/umr-test.stage1")
    extent = model.network.template.vertices.amax(dim=0)
    torch.testing.assert_close(extent, torch.tensor([0.2, 0.3, 0.5]), atol=0.03, rtol=0)
    assert torch.equal(model.network.texel_face, round_one.network.texel_face)
    with pytest.raises(ConfigError, match="trained and refreshed"):
        catalogue.get("mesh_texture/umr-test.stage1", ["model.shape.trained=true"])
