"""Terms of random views: the adversarial terms and the Fréchet distance (equations 36-47)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.collectives import share_of_mean
from raylift.core.generators import keyed_uniforms
from raylift.core.model import Term
from raylift.geometry.camera_conventions import from_weak_perspective
from raylift.geometry.camera_prior import CameraPrior
from raylift.losses.adversarial import (
    critic_fake_loss,
    critic_real_loss,
    generator_loss,
    gradient_penalty,
    interpolation_shares,
)
from raylift.losses.frechet import frechet_share, real_features, rendered_features
from raylift.losses.frechet_moments import RealMoments, RenderedMoments, running_frechet_share
from raylift.models.mesh_texture.bank import PoseBank
from raylift.models.mesh_texture.cameras import framed_camera, turned_quaternions
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.networks.feature_extractors import Frozen


@dataclass(frozen=True)
class RandomViews:
    """I_rand of equation 36.

    Attributes:
        rgb: textured renders, or None if no term uses them.
        mask: silhouettes [B, 1, H, W], or None if no term uses them.
    """

    rgb: Float[Tensor, "B 3 H W"] | None
    mask: Float[Tensor, "B 1 H W"] | None


def random_rotations(state: ForwardState, bank: PoseBank | None) -> Float[Tensor, "B 4"]:
    """Rotations of cam' (equation 36), keyed by (seed, step, sample); constant.

    Args:
        bank: predicted poses, if they are the source of views.
    """
    wanted, step_info, keys = state.config.views, state.step_info, state.batch.keys
    if wanted.source == "turned":
        own = state.decoded.cameras.pick(state.main_hypothesis).quaternion.detach()
        shares = keyed_uniforms(keys, step_info.seed, step_info.step, "random view")
        return turned_quaternions(own, wanted.azimuth_deg, shares)
    learned = None if bank is None else bank.draw(keys, step_info.seed, step_info.step)
    if learned is not None:
        return learned
    # If cameras are bounded, views outside of the bounds would train shapes on what no image shows.
    bounded = state.config.camera.kind == "bins"
    elevation = state.config.poses.ranges.elevation_deg if bounded else wanted.elevation_deg
    return CameraPrior(wanted.azimuth_deg, elevation).draw(keys, step_info.seed, step_info.step).quaternion


def random_views(state: ForwardState, rgb: bool, mask: bool, bank: PoseBank | None = None) -> RandomViews:
    """Render every shape by its own random camera, keyed by (seed, step, sample), framed like the crops."""
    vertices = state.decoded.vertices
    quaternion = random_rotations(state, bank).to(vertices.dtype)
    camera = from_weak_perspective(framed_camera(vertices, quaternion, state.config.views.fill))
    renderer = state.network.renderer
    return RandomViews(
        renderer.textured(renderer.view(vertices, camera), state.texture) if rgb else None,
        renderer.silhouette(vertices, camera)[:, None] if mask else None,
    )


def adversarial_term(state: ForwardState, critic: nn.Module, fake: Tensor) -> Term:
    """Equation 38. Scaling the returned gradient (UMR's reversal) scales the weight: it does not train the critic."""
    config, weights = state.config.critic, state.config.weights
    starts = state.step_info.epoch >= state.config.terms.adversarial_from
    share = share_of_mean(generator_loss(critic(fake)))
    return Term("adversarial", share, weights.adversarial * config.reversal if starts else 0.0)


def real_pictures(state: ForwardState) -> Tensor:
    """The critic's real samples; constant."""
    sees_mask, images = state.config.critic.sees == "mask", state.config.critic.real == "images"
    if sees_mask:
        own = state.silhouettes.gather(
            1, state.main_hypothesis[:, None, None, None].expand_as(state.silhouettes[:, :1])
        )
        return state.batch["mask"] if images else own.detach()
    return state.image if images else state.of_main(state.picture).detach()


def critic_terms(state: ForwardState, critic: nn.Module, fake: Tensor, real: Tensor) -> list[Term]:
    """Equations 37 and 39.

    Args:
        fake: random views; treated as constants.
        real: see ``real_pictures``.
    """
    shares = interpolation_shares(state.batch.keys, state.step_info.seed, state.step_info.step)
    penalty = gradient_penalty(critic, real, fake, shares)
    return [
        Term("critic_real", share_of_mean(critic_real_loss(critic(real)))),
        Term("critic_fake", share_of_mean(critic_fake_loss(critic(fake.detach())))),
        Term("penalty", share_of_mean(penalty), state.config.critic.penalty),
    ]


@dataclass(frozen=True)
class FrechetFeatures:
    """A step's contribution to the moments.

    Attributes:
        rendered: features of the random views.
        real: features of the images, as long as their moments are collected.
    """

    rendered: Float[Tensor, "B D"]
    real: Float[Tensor, "B D"] | None


def frechet_term(
    state: ForwardState, extract: Frozen, rendered: Tensor, running: tuple[RealMoments, RenderedMoments] | None
) -> tuple[Term, FrechetFeatures]:
    """Equations 40-47; returns the features too, for the moments."""
    fake, real = rendered_features(extract, rendered), None
    starts = state.step_info.epoch >= state.config.terms.adversarial_from
    if running is None:
        share = frechet_share(real_features(extract, state.image), fake)
    else:
        if not bool(running[0].is_fixed):
            real, starts = real_features(extract, state.image), False
        share = running_frechet_share(fake, *running)
    term = Term("frechet", share.to(state.image.dtype), state.config.weights.frechet if starts else 0.0)
    return term, FrechetFeatures(fake.detach(), real)
