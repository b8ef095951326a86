"""Several cameras per image: what trains which of them, and how the second stage starts around the first's."""

from __future__ import annotations

import pytest
import torch

from raylift.core.step_info import StepInfo
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.model import MeshTextureModel
from tests.models.mesh_texture_samples import NUM_IMAGES, ellipsoids
from tests.models.test_mesh_texture import PARTS, build

BATCH = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
LATER = StepInfo(step=1, num_steps=9, epoch=1)


def with_parts(*overrides: str) -> MeshTextureModel:
    """A second stage off its start, whose template has parts."""
    _, model = build("mesh_texture/umr-test.stage2", *PARTS, *overrides)
    carry = model.losses("generator", ellipsoids(NUM_IMAGES, 32), StepInfo(0, 9), {}).carry
    model.network.template.settle_parts()
    model.after_step(StepInfo(0, 9, 1), carry)
    model.network.template.settle_parts()
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=draws)
    return model


def slopes_of_logits(model: MeshTextureModel) -> dict[str, float]:
    """How much each term pulls at the probabilities of hypotheses."""
    head = model.network.camera.head
    found = {}
    for term in model.losses("generator", BATCH, LATER, {}).terms:
        (slope,) = torch.autograd.grad(
            term.share, head.bias, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        found[term.name] = float(slope.unflatten(0, (-1, 8))[:, 7].norm())
    return found


@pytest.mark.parametrize("pictures", ["best", "drawn", "all"])
def test_the_whole_error_chooses_among_hypotheses(pictures: str) -> None:
    """Silhouettes alone cannot tell a shape from its twin: pictures and parts must weigh on probabilities too."""
    model = with_parts(f"model.camera.pictures={pictures}", "model.weights.camera_use=0.1")
    chooses = {name for name, slope in slopes_of_logits(model).items() if slope > 1e-8}
    wanted = {"mask", "camera_entropy", "camera_use", "part_chamfer", "part_probability"}
    assert chooses == wanted | ({"reconstruction"} if pictures != "best" else set())


def test_parts_train_every_camera_and_no_shape() -> None:
    model = with_parts()
    terms = {term.name: term for term in model.losses("generator", BATCH, LATER, {}).terms}
    head, shape = model.network.camera.head, model.network.shape.last
    for name in ("part_chamfer", "part_probability"):
        assert terms[name].weight > 0
        turned, moved = torch.autograd.grad(
            terms[name].share, (head.bias, shape.bias), retain_graph=True, allow_unused=True
        )
        assert moved is None, "the shape could be smeared over the map"
        assert bool((turned.unflatten(0, (-1, 8))[:, 3:7].norm(dim=1) > 0).all())


def test_hypotheses_are_drawn_by_their_probabilities_and_by_sample() -> None:
    _, model = build("mesh_texture/umr-test.stage2", "model.camera.pictures=drawn")
    with torch.no_grad():
        model.network.camera.head.bias[7::8] = torch.tensor([0.0, 1.0, -1.0])
        seen = [ForwardState(model.network, BATCH, StepInfo(step, 99)).taken[:, 0] for step in range(80)]
        state = ForwardState(model.network, BATCH.select(slice(1, 3)), StepInfo(5, 99))
        share = torch.bincount(torch.cat(seen), minlength=3) / (80 * len(BATCH))
        torch.testing.assert_close(share, state.probabilities[0], atol=0.08, rtol=0)
        assert torch.equal(state.taken[:, 0], seen[5][1:3])
        assert torch.equal(state.counts, torch.ones(2, 1))


def test_stage_two_starts_around_the_cameras_of_stage_one() -> None:
    _, first = build("mesh_texture/umr-test.stage1")
    with torch.no_grad():
        draws = torch.Generator().manual_seed(2)
        for parameter in first.network.camera.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws)
        first.network.camera.base.copy_(torch.tensor([[0.8, 0.6, 0.0, 0.0]]))
    _, second = build("mesh_texture/umr-test.stage2")
    second.load_pretrained(first.state_dict(), "there")
    first.eval()
    second.eval()
    with torch.no_grad():
        before, after = (model.network.decode(BATCH).regressed for model in (first, second))
    for ours, theirs in zip(after.best(), before.best(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert bool((after.probabilities[:, 0] > 0.45).all())
    turns = orbit_rotations(torch.tensor([0.0, 120.0, 240.0]), torch.zeros(3)).float()
    expected = quaternion_to_matrix(before.quaternion) @ (turns[0].mT @ turns)
    torch.testing.assert_close(quaternion_to_matrix(after.quaternion), expected)
    torch.testing.assert_close(after.scale, before.scale.expand(-1, 3))


def test_each_camera_of_a_multiplex_learns_from_its_own_error() -> None:
    """However improbable: weighted by its probability a bad camera would never move."""
    _, model = build("mesh_texture/ucmr-test")
    multiplex = model.network.multiplex
    assert multiplex is not None
    with torch.no_grad():
        multiplex.numbers += 0.05 * torch.randn(multiplex.numbers.shape, generator=torch.Generator().manual_seed(3))
    state = ForwardState(model.network, BATCH, LATER)
    assert float(state.probabilities.detach().amin()) < 1e-4
    expected = (state.mask_errors * state.probabilities).sum(dim=1).mean()
    (slope,) = torch.autograd.grad(expected, multiplex.numbers)
    own = ForwardState(model.network, BATCH, LATER)
    own.__dict__["probabilities"] = torch.full_like(own.mask_errors, 1 / own.mask_errors.shape[1]).detach()
    (wanted,) = torch.autograd.grad(own.mask_errors.mean(), multiplex.numbers)
    torch.testing.assert_close(slope, wanted, rtol=1e-3, atol=1e-7)


def test_cameras_may_settle_before_shapes_move() -> None:
    _, model = build("mesh_texture/ucmr-test", "model.terms.shape_from=2")
    with torch.no_grad():
        model.network.shape.last.bias += 0.05
    template = model.network.template.vertices
    early, late = (ForwardState(model.network, BATCH, StepInfo(epoch, 9, epoch)).decoded.vertices for epoch in (1, 2))
    assert torch.equal(early[0], template)
    assert float((late[0] - template).detach().abs().max()) > 0.01
    assert early.requires_grad, "so that every parameter has a gradient on every rank"
