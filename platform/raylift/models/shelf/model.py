"""The shelf-supervised model: its inputs, its losses, its reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, CropRequest, Field, Reconstruction, SampleRequest
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.losses.cameras import camera_entropy
from raylift.losses.gradient_penalty import updated_path_mean
from raylift.metrics.painted_background import painted_background
from raylift.models.shelf.caption_terms import caption_background_gain, caption_terms
from raylift.models.shelf.config import ShelfConfig
from raylift.models.shelf.image_terms import anchor_term, image_terms
from raylift.models.shelf.network import ShelfNetwork
from raylift.models.shelf.state import ForwardState
from raylift.models.shelf.surface import query, values
from raylift.models.shelf.view_terms import (
    Judge,
    adversarial_term,
    content_terms,
    critic_term,
    feature_matching_term,
    path_length_term,
    r1_term,
)
from raylift.networks.discriminators.adaptive import AdaptiveAugmentation
from raylift.networks.discriminators.choice import make_discriminator
from raylift.networks.feature_extractors import Frozen
from raylift.networks.image_text.opening import open_image_text
from raylift.networks.image_text.towers import FrozenImageText
from raylift.networks.perceptual import PerceptualDistance
from raylift.networks.pose_posterior import is_pose_search, load_posterior
from raylift.networks.pretrained import perceptual_weights

GENERATOR, CRITIC, R1, PATH = "generator", "critic", "r1", "path"


class ShelfModel(ReconstructionModel):
    """Coloured volumes and their cameras from single images with silhouettes (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights depend on it alone.
        info: description of the data set.

    Raises:
        DataError: a training set with a single image, whose pose any shape explains.
    """

    path_mean: Tensor

    def __init__(self, config: ShelfConfig, seed: int, info: DatasetInfo) -> None:
        super().__init__()
        if info.num_images == 1:
            raise DataError(
                "shapes cannot be learned from one image: any volume with its outline explains it",
                "train on many images of one class of objects",
            )
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "shelf", "weights"))
            self.network = ShelfNetwork(config)
            self.critic = self.augmentation = None
            if config.weights.adversarial > 0:
                wanted = config.critic
                channels = 4 if wanted.sees == "rgba" else 3
                self.critic = make_discriminator(wanted.kind, channels, wanted.width, config.render.view_px)
                self.augmentation = AdaptiveAugmentation(wanted.augmentation)
        self.register_buffer("path_mean", torch.zeros(()))
        self._perceptual: Frozen | None = None
        self._towers: FrozenImageText | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The generator; its critic, the critic's penalty and the generator's path lengths if enabled."""
        phases, wanted = [Phase(GENERATOR, ("encoder", "decoder"))], self.config.critic
        if self.critic is not None:
            phases.append(Phase(CRITIC, ("critic",), wanted.every))
            if wanted.r1:
                phases.append(Phase(R1, ("critic",), wanted.lazy_every))
        if self.config.weights.path_length:
            phases.append(Phase(PATH, ("decoder",), wanted.lazy_every))
        return tuple(phases)

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """Encoder with cameras, decoder, and critic."""
        decoder = list(self.network.decoder.parameters())
        own = {id(parameter) for parameter in decoder}
        encoder = [p for p in self.network.parameters() if p.requires_grad and id(p) not in own]
        groups: dict[str, Sequence[nn.Parameter]] = {"encoder": encoder, "decoder": decoder}
        return groups if self.critic is None else groups | {"critic": list(self.critic.parameters())}

    @property
    def leaves_parameters_out(self) -> bool:
        """Return True while cameras are distilled: nothing else is trained."""
        return self.config.camera.distil_steps > 0

    @property
    def request(self) -> SampleRequest:
        """A crop with its silhouette, its caption if that is used, and its camera if that is known."""
        config = self.config
        crop = CropRequest(config.padding, config.jitter, config.mirror)
        known = config.camera.trained_by == "known"
        return SampleRequest(config.image_px, crop=crop, caption=config.weights.caption > 0, supervised_camera=known)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """All terms of weight above 0, as their means over the global batch.

        The generator carries what the critic compares: ``real``, ``seen`` and ``novel``. The critic carries
        ``real_logits``, which the augmentation is adapted by.
        """
        state = ForwardState(self.network, batch, step_info)
        if phase == GENERATOR:
            # Under mixed precision the encoder runs in bfloat16; decoding, rendering and losses do not.
            _ = state.encoded
            with torch.autocast(batch.keys.device.type, enabled=False):
                return self._generator_output(state)
        with torch.autocast(batch.keys.device.type, enabled=False):
            if phase == PATH:
                path_term, lengths = path_length_term(state, self.path_mean)
                return LossOutput([path_term], {"path_lengths": lengths})
            judge = self._judge(state)
            if phase == R1:
                return LossOutput([r1_term(judge, judge.channels(state.images))])
            shown = carry if "novel" in carry else self._pictures(state, judge)
            term, logits = critic_term(judge, shown["real"], shown["seen"], shown["novel"])
            return LossOutput([term], {"real_logits": logits})

    def _generator_output(self, state: ForwardState) -> LossOutput:
        weights, terms, carry = self.config.weights, list[Term](), dict[str, Tensor]()
        if weights.anchor:
            terms.append(anchor_term(state))
        if state.step_info.step < self.config.camera.distil_steps:
            return LossOutput(terms)
        terms += image_terms(state, self._open_perceptual())
        if max(weights.latent_consistency, weights.view_consistency) > 0:
            terms += content_terms(state)
        if self.critic is not None:
            judge = self._judge(state)
            terms.append(adversarial_term(state, judge))
            if weights.feature_matching:
                terms.append(feature_matching_term(state, judge))
            carry = self._shown(state, judge)
        if weights.needs_towers:
            terms += caption_terms(state, self._open_towers())
        return LossOutput(terms, carry)

    def _judge(self, state: ForwardState) -> Judge:
        assert self.critic is not None
        return Judge(self.critic, self.augmentation, state)

    @staticmethod
    def _shown(state: ForwardState, judge: Judge) -> dict[str, Tensor]:
        pictures = {"real": state.images, "seen": state.cut_seen, "novel": state.novel}
        return {name: judge.channels(picture).detach() for name, picture in pictures.items()}

    @torch.no_grad()
    def _pictures(self, state: ForwardState, judge: Judge) -> dict[str, Tensor]:
        """What the critic compares, where the generator has rendered nothing."""
        return self._shown(state, judge)

    def _open_perceptual(self) -> Frozen | None:
        if self.config.weights.perceptual and self._perceptual is None:
            self._perceptual = Frozen(PerceptualDistance("alexnet", perceptual_weights("alexnet")))
        return self._perceptual

    def _open_towers(self) -> FrozenImageText:
        if self._towers is None:
            self._towers = open_image_text(self.config.captions.towers)
        return self._towers

    @torch.no_grad()
    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Adapt the augmentation to how sure the critic is of real images, and the moving mean of path lengths."""
        if self.augmentation is not None and "real_logits" in carry:
            self.augmentation.update(carry["real_logits"])
        if "path_lengths" in carry:
            self.path_mean.copy_(updated_path_mean(self.path_mean, collectives.gather_rows(carry["path_lengths"])))

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """What validation logs about training itself and rings alarms for (``evaluation.alarms``)."""
        state = ForwardState(self.network, batch, StepInfo(0, 1))
        seen, count = state.seen, len(batch)
        found = {"painted_background": painted_background(seen.on_white, seen.alpha)}
        if state.encoded.cameras.logits.shape[1] > 1:
            found["hypothesis_entropy"] = _used_evenly(state).expand(count)
        if self.augmentation is not None and bool(self.augmentation.num_updates >= self.augmentation.config.every):
            found["real_sign"] = self.augmentation.real_sign.expand(count)
        if count > 1:
            spreads = [part.on_white.std(dim=0).mean() for part in (seen, state.images)]
            found["fake_diversity"] = (spreads[0] / spreads[1].clamp(min=1e-6)).expand(count)
        if self.config.weights.caption:
            found["caption_background_gain"] = caption_background_gain(state, self._open_towers())
        return found

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Initialise from a pose search, whose posterior anchors the cameras, or from another run of this model."""
        if is_pose_search(state):
            load_posterior(self.network.poses, state, where)
            return
        super().load_pretrained(state, where)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """A coloured field per image, with its most probable camera."""
        encoded = self.network.encode(batch["image"])
        best = encoded.cameras.best()
        device, extent = batch.keys.device, self.config.volume.half_extent
        found = []
        for row, name in enumerate(batch.ids):
            volume = self.network.decode(encoded.latent[row : row + 1])
            shape = Field(partial(query, volume), extent, device, partial(values, volume))
            camera = from_weak_perspective(WeakPerspective(*(part[row : row + 1].float() for part in best)))
            found.append(Reconstruction(name, shape, camera))
        return found


def _used_evenly(state: ForwardState) -> Float[Tensor, ""]:
    """Entropy of the batch's mean probabilities of azimuth bins, over the largest possible for as many images."""
    mean = state.encoded.cameras.probabilities.mean(dim=0, keepdim=True)
    evenness = camera_entropy(mean)[0] / math.log(max(2, min(mean.shape[1], len(state.batch))))
    return evenness.clamp(max=1.0)
