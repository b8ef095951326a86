"""Random views and what the critic takes for real; the pretrained encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from raylift.core.errors import WeightsError
from raylift.core.step_info import StepInfo
from raylift.geometry.camera_hypotheses import orbit_quaternions
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.models.mesh_texture.bank import PoseBank
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.view_terms import random_rotations, real_pictures
from raylift.networks import pretrained_pyramid
from tests.models.mesh_texture_samples import NUM_IMAGES, ellipsoids
from tests.models.test_mesh_texture import build

BATCH = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
RESNET = "model.encoder.pretrained=torchvision:resnet18"


def test_turned_views_keep_the_elevation_of_the_image() -> None:
    _, model = build("mesh_texture/umr-test.stage1", "model.camera.initial_elevation_deg=35")
    assert model.config.views.source == "turned"
    turned = torch.cat(
        [random_rotations(ForwardState(model.network, BATCH, StepInfo(step, 9)), None).detach() for step in range(9)]
    )
    viewing = quaternion_to_matrix(turned)[:, 2]
    torch.testing.assert_close(-viewing[:, 1], torch.full((36,), 35.0).deg2rad().sin(), atol=1e-3, rtol=0)
    turns = torch.atan2(viewing[:, 0], viewing[:, 2]).rad2deg() % 360
    assert float(turns.max() - turns.min()) > 120, "anywhere in half a turn"
    again = random_rotations(ForwardState(model.network, BATCH.select(slice(2, 4)), StepInfo(3, 9)), None)
    torch.testing.assert_close(again, turned[14:16], msg="drawn for samples")


def test_learned_views_are_those_of_other_images() -> None:
    """Cameras of two azimuths, five to one: so are the views, whatever the ranges."""
    _, model = build("mesh_texture/umr-test.stage1", "model.views.source=learned")
    bank = model.pose_bank
    assert isinstance(bank, PoseBank)
    assert bank.draw(BATCH.keys, 0, 0) is None
    assert random_rotations(ForwardState(model.network, BATCH, StepInfo(0, 9)), bank).shape == (4, 4)
    azimuths = torch.tensor([30.0] * 5 + [200.0])
    bank.keep(torch.tensor([0, 2, 3, 4, 6, 7]), orbit_quaternions(azimuths, torch.zeros(6)))
    drawn = torch.cat([bank.draw(BATCH.keys, 0, step) for step in range(60)])  # type: ignore[misc]
    rare = (drawn - orbit_quaternions(azimuths[5:], torch.zeros(1))).abs().sum(dim=1) < 1e-5
    assert 0.1 < float(rare.float().mean()) < 0.24
    carry = model.losses("generator", BATCH, StepInfo(1, 9), {}).carry
    model.after_step(StepInfo(1, 9), carry)
    assert bank.known.nonzero()[:, 0].tolist() == [0, 1, 2, 3, 4, 6, 7], "the network's own are taken in"


@pytest.mark.parametrize("name", ["umr-test.stage1", "umr-test.stage2"])
def test_a_critic_of_renders_never_sees_the_images(name: str) -> None:
    _, model = build(f"mesh_texture/{name}", "model.critic.real=renders")
    state = ForwardState(model.network, BATCH, StepInfo(0, 9))
    own = state.silhouettes[:, :1] if model.config.critic.sees == "mask" else state.of_main(state.picture)
    assert torch.equal(real_pictures(state), own.detach())
    assert not real_pictures(state).requires_grad
    _, other = build(f"mesh_texture/{name}", "model.critic.real=images")
    shown = BATCH["mask" if model.config.critic.sees == "mask" else "image"]
    assert torch.equal(real_pictures(ForwardState(other.network, BATCH, StepInfo(0, 9))), shown)


def test_the_pretrained_encoder_is_each_samples_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch normalisation keeps its statistics, so a feature does not depend on who shares the worker (law 1)."""
    monkeypatch.setattr(pretrained_pyramid, "load_trunk", lambda name, stages: None)
    _, model = build("mesh_texture/umr-test.stage1", RESNET)
    model.train()
    whole = model.network.encoder(BATCH["image"])
    torch.testing.assert_close(model.network.encoder(BATCH["image"][:1]), whole[:1], rtol=1e-4, atol=1e-5)
    whole.sum().backward()
    assert all(parameter.grad is not None for parameter in model.network.encoder.parameters())
    _, frozen = build("mesh_texture/umr-test.stage1", RESNET, "model.encoder.frozen=true")
    trained = {name for name, one in frozen.network.encoder.named_parameters() if one.requires_grad}
    assert trained == {"reduce.weight", "norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_a_missing_encoder_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    _, model = build("mesh_texture/umr-test.stage1", RESNET)
    with pytest.raises(WeightsError, match="resnet18"):
        model.losses("generator", BATCH, StepInfo(0, 9), {})
