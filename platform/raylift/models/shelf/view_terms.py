"""Terms of novel views: the adversarial game and content consistency (equations 7 and 8)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.collectives import global_number, share_of_mean
from raylift.core.model import Term
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.losses.gradient_penalty import path_length_loss, path_lengths, r1_gamma, r1_penalty
from raylift.losses.image_similarity import feature_matching_loss
from raylift.losses.self_consistency import latent_consistency_loss, rotation_code, view_consistency_loss
from raylift.losses.view_adversarial import discriminator_view_loss, generator_view_loss, over_heads
from raylift.models.shelf.network import Encoded
from raylift.models.shelf.state import ForwardState
from raylift.models.shelf.views import Pictures, constant_camera
from raylift.networks.discriminators.adaptive import AdaptiveAugmentation
from raylift.networks.discriminators.choice import Discriminator
from raylift.networks.discriminators.noise import keyed_noise
from raylift.rendering.backgrounds import composite, draw_backgrounds


class Judge:
    """The discriminator as the terms use it: which channels it sees, with augmentation and noise of each picture.

    Args:
        discriminator: network from pictures and noise to logits.
        augmentation: applied to real and rendered pictures alike; None for none.
        state: batch, seed and step, which key the draws.
    """

    def __init__(
        self, discriminator: Discriminator, augmentation: AdaptiveAugmentation | None, state: ForwardState
    ) -> None:
        self.discriminator, self.augmentation, self.state = discriminator, augmentation, state

    def channels(self, pictures: Pictures) -> Tensor:
        """What the discriminator sees of pictures."""
        sees, state = self.state.config.critic.sees, self.state
        if sees == "rgba":
            return pictures.rgba
        if sees == "rgb":
            return pictures.on_white
        info, px = state.step_info, pictures.rgb.shape[-1]
        background = draw_backgrounds(state.batch.keys, info.seed, info.step, px, purpose="critic")
        return composite(pictures.rgb, pictures.alpha, background.to(pictures.rgb))

    def logits(self, picture: Float[Tensor, "B C H W"], purpose: str) -> Float[Tensor, "B N"]:
        """Logits of changed and noisy pictures; ``purpose`` tells apart the draws of one step."""
        info, keys = self.state.step_info, self.state.batch.keys
        if self.augmentation is not None:
            picture = self.augmentation(picture, keys, info.seed, info.step, purpose)
        noise = keyed_noise(picture.shape[1:], keys, info.seed, info.step, purpose).to(picture)
        logits: Tensor = self.discriminator(picture, noise)
        return logits


def adversarial_term(state: ForwardState, judge: Judge) -> Term:
    """Equation 7, the generator's side, of the seen and of a novel view."""
    config = state.config
    seen = judge.logits(judge.channels(state.cut_seen), "seen")
    novel = judge.logits(judge.channels(state.novel), "novel")
    starts = state.step_info.step >= config.critic.from_step
    share = share_of_mean(generator_view_loss(seen, novel, config.critic.fake_weight))
    return Term("adversarial", share, config.weights.adversarial if starts else 0.0)


def critic_term(judge: Judge, real: Tensor, seen: Tensor, novel: Tensor) -> tuple[Term, Float[Tensor, "B"]]:
    """Equation 7, the discriminator's side; returns the real images' own logits too, constant.

    Args:
        real, seen, novel: what it sees of the images and of both renders; constants.
    """
    of_real = judge.logits(real.detach(), "real")
    loss = discriminator_view_loss(
        of_real,
        judge.logits(seen.detach(), "seen"),
        judge.logits(novel.detach(), "novel"),
        judge.state.config.critic.fake_weight,
    )
    return Term("critic", share_of_mean(loss)), of_real[:, 0].detach()


def r1_term(judge: Judge, real: Tensor) -> Term:
    """The lazy gradient penalty of real images: its weight makes up for the steps without it."""
    config = judge.state.config.critic
    penalty = r1_penalty(lambda picture: over_heads(judge.logits(picture, "real")), real)
    gamma = r1_gamma(real.shape[-1], global_number(len(real), real))
    return Term("r1", share_of_mean(penalty), config.r1 * gamma / 2 * config.lazy_every)


def feature_matching_term(state: ForwardState, judge: Judge) -> Term:
    """What replaces equation 6 without AlexNet: the discriminator's layers of the seen view and of the image."""
    ours = judge.discriminator.logits_and_maps(judge.channels(state.seen))[1]
    with torch.no_grad():
        theirs = judge.discriminator.logits_and_maps(judge.channels(state.images))[1]
    share = share_of_mean(feature_matching_loss(ours, theirs))
    return Term("feature_matching", share, state.config.weights.feature_matching)


def path_length_term(state: ForwardState, mean: Float[Tensor, ""]) -> tuple[Term, Float[Tensor, "B"]]:
    """The lazy path length penalty of novel views; returns the lengths too, constant. It trains the decoder alone.

    Args:
        mean: moving mean of lengths.
    """
    config, info, keys = state.config, state.step_info, state.batch.keys
    latent = state.encoded.latent.detach().requires_grad_()
    with torch.enable_grad():
        grid = state.network.decode(latent).bake()
        picture = state.rendered(grid, constant_camera(state.novel_camera)).rgba
        noise = keyed_noise(picture.shape[1:], keys, info.seed, info.step, "path length").to(picture)
        lengths = path_lengths(picture, latent, noise)
    share = share_of_mean(path_length_loss(lengths, mean))
    return Term("path_length", share, config.weights.path_length * config.critic.lazy_every), lengths.detach()


def content_terms(state: ForwardState) -> list[Term]:
    """Equation 8: the encoder recovers latent and view of both renders, which are constants; it alone is trained."""
    weights, px = state.config.weights, state.config.image_px
    latent_losses, view_losses = [], []
    for pictures, camera in ((state.cut_seen, state.best_camera), (state.novel, state.novel_camera)):
        image = functional.interpolate(
            pictures.detach().on_white.clamp(0, 1), size=px, mode="bilinear", align_corners=False
        )
        encoded = state.network.encode(image)
        latent_losses.append(latent_consistency_loss(encoded.latent, state.encoded.latent))
        view_losses.append(view_error(encoded, camera))
    terms = []
    if weights.latent_consistency:
        share = share_of_mean(torch.stack(latent_losses).sum(dim=0))
        terms.append(Term("latent_consistency", share, weights.latent_consistency))
    if weights.view_consistency:
        share = share_of_mean(torch.stack(view_losses).sum(dim=0))
        terms.append(Term("view_consistency", share, weights.view_consistency))
    return terms


def view_error(encoded: Encoded, camera: WeakPerspective) -> Float[Tensor, "B"]:
    """The view's half of equation 8, of rotations; with several azimuth bins, of the bin that contains the view.

    The cross-entropy of that bin is added, over log(bins), so that a wrong bin costs about as much as a wrong rotation.
    """
    cameras = encoded.cameras
    target = quaternion_to_matrix(camera.quaternion.detach())
    rotations = quaternion_to_matrix(cameras.quaternion.flatten(0, 1)).unflatten(0, cameras.quaternion.shape[:2])
    count = rotations.shape[1]
    alike = (rotations.detach() * target[:, None]).sum(dim=(-2, -1))
    index = alike.argmax(dim=1)
    chosen = rotations[torch.arange(len(index), device=index.device), index]
    error = view_consistency_loss(rotation_code(chosen), rotation_code(target))
    if count == 1:
        return error
    return error + functional.cross_entropy(cameras.logits, index, reduction="none") / math.log(count)
