"""Law 1 for the losses, the camera multiplex and adaptive augmentation: 2 and 4 ranks equal one.

Each case is a function of this rank's part of a global batch that returns this rank's share and what to differentiate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from raylift.core.collectives import gather_rows, global_count, rank, share_of_mean, world_size
from raylift.geometry.camera_prior import CameraPrior
from raylift.losses.adversarial import (
    critic_fake_loss,
    critic_real_loss,
    generator_loss,
    gradient_penalty,
    interpolation_shares,
)
from raylift.losses.flow_alignment import face_centroids, flow_alignment_error
from raylift.losses.frechet import frechet_share
from raylift.losses.frechet_moments import RealMoments, RenderedMoments, running_frechet_share
from raylift.losses.gradient_penalty import r1_penalty
from raylift.losses.part_segmentation import orthonormality_error, semantic_consistency_error
from raylift.losses.parts import part_chamfer
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.losses.view_adversarial import discriminator_view_loss, generator_view_loss, over_heads
from raylift.networks.critic import Critic
from raylift.networks.discriminators.augmentation import AugmentationConfig, augmentation_draws, augmented
from raylift.networks.discriminators.choice import DiscriminatorKind, make_discriminator
from raylift.networks.discriminators.noise import keyed_noise
from raylift.rendering.soft_blend import face_pixel_sums
from raylift.testing.ranks import run_ranks
from tests.networks.discriminators.test_adaptive import probabilities
from tests.networks.test_camera_multiplex import train_a_multiplex

GLOBAL_BATCH = 7  # over 4 ranks: 1, 2, 2, 2 samples
Result = dict[str, tuple[Tensor, list[Tensor], list[Tensor]]]


def _draw(*shape: int, seed: int = 0) -> Tensor:
    """This rank's rows of a batch that is the same in every process."""
    whole = torch.rand(GLOBAL_BATCH, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return whole[rank() * GLOBAL_BATCH // world_size() : (rank() + 1) * GLOBAL_BATCH // world_size()].clone()


def _keys() -> Tensor:
    return (_draw(seed=9) * 2**40).long()


Case = tuple[Tensor, list[Tensor], list[Tensor]]
"""A share, inputs whose gradients are rows of this rank, and parameters whose gradients add over ranks."""


def _frechet(width: int) -> Case:
    real, rendered = _draw(width), _draw(width, seed=1).requires_grad_()
    return frechet_share(real, rendered.square()), [rendered], []


def _frechet_running() -> Case:
    real, moments = RealMoments(4, 3), RenderedMoments(4, 3, 0.5)
    for seed in (5, 6):
        real.collect(gather_rows(_draw(4, seed=seed)))
    real.fix()
    share = torch.zeros((), dtype=torch.float64)
    rendered = _draw(4, seed=1).requires_grad_()
    for step in range(2):
        share = share + running_frechet_share((rendered + step).square(), real, moments)
        moments.update(gather_rows((rendered + step).square().detach()), real)
    return share, [rendered], []


def _critic(term: str) -> Case:
    torch.manual_seed(0)
    critic = Critic("patch", width=4).double()
    real, fake = _draw(3, 32, 32), _draw(3, 32, 32, seed=1).requires_grad_()
    if term == "penalty":
        values = gradient_penalty(critic, real, fake, interpolation_shares(_keys(), seed=0, step=3))
        return share_of_mean(values) + 0 * fake.sum(), [fake], list(critic.parameters())
    if term == "generator":
        return share_of_mean(generator_loss(critic(fake))), [fake], list(critic.parameters())
    share = share_of_mean(critic_real_loss(critic(real))) + share_of_mean(critic_fake_loss(critic(fake)))
    return share, [fake], list(critic.parameters())


def _views(kind: DiscriminatorKind, term: str) -> Case:
    """Equation 7 or R1, with noise and augmentation; the discriminator is in training mode."""
    torch.manual_seed(0)
    discriminator = make_discriminator(kind, 4, 2, 16).double()
    real, fake = _draw(4, 16, 16), _draw(4, 16, 16, seed=1).requires_grad_()

    def judged(image: Tensor, purpose: str) -> Tensor:
        draws = augmentation_draws(_keys(), seed=0, step=3, purpose=purpose)
        noise = keyed_noise(image.shape[1:], _keys(), seed=0, step=3, purpose=purpose)
        logits: Tensor = discriminator(augmented(image, draws, 0.5, AugmentationConfig()), noise.to(image.dtype))
        return logits

    if term == "R1":
        share = share_of_mean(r1_penalty(lambda x: over_heads(judged(x, "real")), real)) + 0 * fake.sum()
    elif term == "generator":
        share = share_of_mean(generator_view_loss(judged(fake, "seen"), judged(fake, "novel")))
    else:
        logits = (judged(real, "real"), judged(fake, "seen"), judged(fake, "novel"))
        share = share_of_mean(discriminator_view_loss(*logits))
    return share, [fake], list(discriminator.parameters())


def _silhouette() -> Case:
    predicted = _draw(6, 6).requires_grad_()
    return share_of_mean(silhouette_iou_loss(predicted, _draw(6, 6, seed=1))), [predicted], []


def _alignment() -> Case:
    """A masked mean: ranks see different numbers of faces."""
    weights, flow = _draw(5, 5, 2).requires_grad_(), _draw(2, 4, 8, seed=1).requires_grad_()
    pix_to_face = (_draw(5, 5, 2, seed=2) * 60).long() - 20
    uvs = torch.rand(40, 3, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    seen = face_centroids(*face_pixel_sums(pix_to_face.clamp(min=-1), weights, 40))
    error = flow_alignment_error(flow, uvs, seen)
    return error.sum() / global_count(seen.is_seen.sum(), error), [weights, flow], []


def _parts() -> Case:
    projected = _draw(6, 2).requires_grad_()
    vertex_parts = torch.arange(6) % 2 == torch.arange(2)[:, None]
    exists = _draw(2, 5, seed=2) > 0.4
    return share_of_mean(part_chamfer(projected, vertex_parts, _draw(2, 5, 2, seed=1), exists)), [projected], []


def _segmentation() -> Case:
    parts = _draw(3, 4, 4).requires_grad_()
    basis = torch.rand(3, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    consistency = semantic_consistency_error(parts, _draw(5, 4, 4, seed=1), basis, _draw(1, 4, 4, seed=2))
    share = share_of_mean(consistency) + orthonormality_error(basis).sum() / world_size()
    return share, [parts], [basis]


def _random_views() -> Case:
    points = _draw(3, 2).requires_grad_()
    camera = CameraPrior(scale=(1.0, 2.0), translation=0.2).draw(_keys(), seed=1, step=2)
    seen = points * camera.scale.double()[:, None, None] + camera.translation.double()[:, None]
    return share_of_mean(seen.square()), [points], []


CASES: dict[str, Callable[[], Case]] = {
    "Fréchet, batch smaller than features": lambda: _frechet(12),
    "Fréchet, batch larger than features": lambda: _frechet(3),
    "Fréchet, running": _frechet_running,
    "critic": lambda: _critic("critic"),
    "generator": lambda: _critic("generator"),
    "gradient penalty": lambda: _critic("penalty"),
    **{
        f"views: {kind}, {term}": partial(_views, kind, term)
        for kind in ("statistics", "residual")
        for term in ("discriminator", "generator", "R1")
    },
    "silhouette": _silhouette,
    "flow alignment": _alignment,
    "part chamfer": _parts,
    "part segmentation": _segmentation,
    "random views": _random_views,
}


def shares_and_gradients() -> Result:
    results: Result = {}
    for name, case in CASES.items():
        share, rows, parameters = case()
        gradients = torch.autograd.grad(share, rows + parameters, materialize_grads=True)
        results[name] = (share.detach(), list(gradients[: len(rows)]), list(gradients[len(rows) :]))
    return results


def everything() -> tuple[Result, dict[str, Tensor]]:
    """All losses, and what some steps refresh, by one start of the ranks."""
    return shares_and_gradients(), train_a_multiplex() | {"probability of augmentation": probabilities()}


@pytest.mark.parametrize("world", [2, 4])
def test_many_ranks_equal_one(world: int) -> None:
    alone, table = everything()
    assert int(table["num_kept"]) == 2
    returned = run_ranks(world, everything)
    for _, state in returned:
        for name, expected in table.items():
            torch.testing.assert_close(state[name], expected, rtol=0, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    ranks = [losses for losses, _ in returned]
    for name, (share, rows, parameters) in alone.items():
        assert sum(result[name][0].item() for result in ranks) == pytest.approx(share.item(), rel=1e-11), name
        for index, expected in enumerate(rows):
            got = torch.cat([result[name][1][index] for result in ranks])
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}")
        for index, expected in enumerate(parameters):
            got = sum(result[name][2][index] for result in ranks)
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-13, msg=lambda m, n=name: f"{n}: {m}")
