"""The mesh-texture model: its inputs, its losses, its reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.dataset_info import DatasetInfo
from raylift.core.device_copies import on_host
from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, CropRequest, Reconstruction, SampleRequest
from raylift.geometry.hull import on_hull
from raylift.losses.frechet_moments import RealMoments, RenderedMoments
from raylift.models.mesh_texture.bank import PoseBank
from raylift.models.mesh_texture.config import MeshTextureConfig
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.keypoints import KeypointModel
from raylift.models.mesh_texture.network import MeshTextureNetwork
from raylift.models.mesh_texture.part_terms import part_terms, part_votes
from raylift.models.mesh_texture.pose_terms import anchor_term, start_from_poses
from raylift.models.mesh_texture.shape_terms import shape_terms
from raylift.models.mesh_texture.texture_terms import texture_terms
from raylift.models.mesh_texture.view_terms import (
    adversarial_term,
    critic_terms,
    frechet_term,
    random_views,
    real_pictures,
)
from raylift.networks.camera_decoder import CameraDecoder
from raylift.networks.critic import Critic
from raylift.networks.feature_extractors import NUM_FEATURES, Frozen, open_features
from raylift.networks.perceptual import PerceptualDistance, Trunk
from raylift.networks.pose_posterior import is_pose_search
from raylift.networks.pretrained import perceptual_weights

PERCEPTUAL_TRUNK: Trunk = "alexnet"
STARTS_ANEW = (
    "critic.",
    "running_",
    "pose_bank.",
    "network.multiplex.",
    "keypoints.",
    *(f"network.template.{name}" for name in ("refreshed", "votes", "features", "has_feature")),
)
"""State of an earlier run that is specific to its progress or training set."""


class MeshTextureModel(ReconstructionModel):
    """Textured meshes and their cameras from single images with silhouettes (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights depend on it alone.
        info: description of the data set: its numbers of images, keypoints and parts.

    Raises:
        ConfigError: the recipe needs parts or keypoints that the data set does not have.
    """

    def __init__(self, config: MeshTextureConfig, seed: int, info: DatasetInfo) -> None:
        super().__init__()
        self.config, self.info = config, info
        if config.parts.use == "always" and info.num_parts < 2:
            raise ConfigError(
                "model.parts.use is 'always', but the data set has no part maps",
                "write part maps with raylift segment-parts, or set model.parts.use=never and their weights to 0",
            )
        weights = config.weights
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "mesh_texture", "weights"))
            self.network = MeshTextureNetwork(config, info)
            has_keypoints = config.camera.kind == "keypoints"
            self.keypoints = KeypointModel(self.network.template.num_vertices, info) if has_keypoints else None
            channels = 1 if config.critic.sees == "mask" else 3
            self.critic = Critic(config.critic.kind, channels, config.critic.width) if weights.adversarial > 0 else None
        number = NUM_FEATURES[config.frechet.extractor]
        wants_moments, rank = weights.frechet > 0 and config.frechet.running, config.frechet.rank
        self.running_real = RealMoments(number, rank) if wants_moments else None
        self.running_fake = RenderedMoments(number, rank, config.frechet.decay) if wants_moments else None
        self._perceptual: Frozen | None = None
        self._extract: Frozen | None = None
        self.pose_bank = PoseBank(info.num_images) if config.views.source == "learned" else None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The generator, and its critic if enabled."""
        generate = Phase("generator", ("generator",))
        if self.critic is None:
            return (generate,)
        return generate, Phase("critic", ("critic",), self.config.critic.every)

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        generator = [*self.network.parameters(), *(self.keypoints.parameters() if self.keypoints else ())]
        groups: dict[str, Sequence[nn.Parameter]] = {"generator": generator}
        return groups if self.critic is None else groups | {"critic": list(self.critic.parameters())}

    @property
    def request(self) -> SampleRequest:
        """A crop with its silhouette, the distance to it, its colours, its image index, parts or keypoints."""
        config = self.config
        return SampleRequest(
            config.image_px,
            crop=CropRequest(config.padding, config.jitter, config.mirror),
            mask_distance=max(config.weights.outside, config.weights.texture_distance) > 0,
            object_colors=config.texture.from_object and config.texture.predicts == "flow",
            keypoints=self.keypoints is not None,
            parts=config.parts.use == "always",
            image_index=True,
        )

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """All terms of weight above 0, as their means over the global batch.

        The generator carries ``image_index``, ``feature`` and ``quaternion`` of its samples, and the other inputs of
        ``after_step``; the critic compares ``fake`` and ``real``.
        """
        state = ForwardState(self.network, batch, step_info, self._open_perceptual())
        if phase == "critic":
            assert self.critic is not None
            fake, real = (carry["fake"], carry["real"]) if "fake" in carry else self._pictures(state)
            return LossOutput(critic_terms(state, self.critic, fake, real))
        # Under mixed precision the network runs in bfloat16; rendering and losses do not.
        _ = state.decoded
        with torch.autocast(batch.keys.device.type, enabled=False):
            if self.keypoints is not None:
                state.decoded = self.keypoints.with_fitted_cameras(state)
            return self._generator_output(state)

    def _open_perceptual(self) -> Frozen | None:
        if self.config.weights.perceptual and self._perceptual is None:
            trunk = PerceptualDistance(PERCEPTUAL_TRUNK, perceptual_weights(PERCEPTUAL_TRUNK))
            self._perceptual = Frozen(trunk)
        return self._perceptual

    @property
    def leaves_parameters_out(self) -> bool:
        """Return True while D_cam is distilled: no other decoder is trained."""
        return self.config.camera.distil_steps > 0

    def _generator_output(self, state: ForwardState) -> LossOutput:
        weights, batch = self.config.weights, state.batch
        anchors = [anchor_term(state)] if weights.anchor else []
        if state.step_info.step < self.config.camera.distil_steps:
            return LossOutput(anchors)
        terms = anchors + shape_terms(state) + texture_terms(state)
        carry = self._seen(state)
        if self.config.parts.use == "always":
            terms += part_terms(state)
            if self.config.parts.learn:
                carry["votes"] = part_votes(state)
        if self.keypoints is not None:
            terms += self.keypoints.terms(state)
            carry["keypoints"] = batch["keypoints"].detach()
        if weights.adversarial or weights.frechet:
            view_terms, views = self._view_terms(state)
            terms += view_terms
            carry |= views
        return LossOutput(terms, carry)

    def _seen(self, state: ForwardState) -> dict[str, Tensor]:
        images, known = state.batch["image_index"], self.info.num_images
        largest = int(on_host(images).max()) if len(images) else -1
        if largest >= known:
            raise DataError(
                f"a batch has image {largest}, but the training set has {known} images",
                "the data set has changed since the model was built: start a new run on it",
            )
        quaternion = state.decoded.cameras.pick(state.main_hypothesis).quaternion.detach()
        seen = {"image_index": images, "feature": state.decoded.feature.detach(), "quaternion": quaternion}
        return seen | ({"camera_scores": state.hypothesis_scores} if self.network.multiplex is not None else {})

    def _view_terms(self, state: ForwardState) -> tuple[list[Term], dict[str, Tensor]]:
        terms: list[Term] = []
        carry: dict[str, Tensor] = {}
        sees_mask = self.critic is not None and self.config.critic.sees == "mask"
        sees_rgb = (self.critic is not None and not sees_mask) or self.config.weights.frechet > 0
        views = random_views(state, sees_rgb, sees_mask, self.pose_bank)
        if self.critic is not None:
            fake = views.mask if sees_mask else views.rgb
            assert fake is not None
            terms.append(adversarial_term(state, self.critic, fake))
            carry |= {"fake": fake.detach(), "real": real_pictures(state)}
        if self.config.weights.frechet:
            assert views.rgb is not None
            if self._extract is None:
                self._extract = open_features(self.config.frechet.extractor)
            term, features = frechet_term(state, self._extract, views.rgb, self._running())
            terms.append(term)
            carry["rendered_features"] = features.rendered
            if features.real is not None:
                carry["real_features"] = features.real
        return terms, carry

    def _running(self) -> tuple[RealMoments, RenderedMoments] | None:
        return (
            None if self.running_real is None or self.running_fake is None else (self.running_real, self.running_fake)
        )

    @torch.no_grad()
    def _pictures(self, state: ForwardState) -> tuple[Tensor, Tensor]:
        """Random views and the critic's real samples, where the generator has rendered none."""
        sees_mask = self.config.critic.sees == "mask"
        views = random_views(state, not sees_mask, sees_mask, self.pose_bank)
        fake = views.mask if sees_mask else views.rgb
        assert fake is not None
        return fake, real_pictures(state)

    @torch.no_grad()
    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Store the step's results; update the template, its parts and the multiplex when due."""
        if "image_index" not in carry:
            return  # only D_cam was distilled
        template, multiplex, images = self.network.template, self.network.multiplex, carry["image_index"]
        template.keep_features(images, carry["feature"])
        if self.pose_bank is not None:
            self.pose_bank.keep(images, carry["quaternion"])
        if "votes" in carry:
            template.vote(carry["votes"])
        if self.keypoints is not None:
            self.keypoints.keep(images, carry["keypoints"])
            structure = self.keypoints.solve(step_info)
            if structure is not None and self.config.shape.from_keypoints:
                template.become(on_hull(template.sphere, structure))
            if structure is not None:
                self.keypoints.assign(template.vertices)
        if "rendered_features" in carry:
            self._keep_moments(carry["rendered_features"], carry.get("real_features"))
        if multiplex is not None:
            multiplex.observe(images, carry["camera_scores"])
            self._prune(step_info)
        self._refresh(step_info)

    def _keep_moments(self, rendered: Tensor, real: Tensor | None) -> None:
        """Average the rendered features; collect real ones until there are enough."""
        running = self._running()
        if running is None:
            return
        real_moments, rendered_moments = running
        if real is None:
            rendered_moments.update(collectives.gather_rows(rendered), real_moments)
            return
        real_moments.collect(collectives.gather_rows(real))
        if int(real_moments.count) >= min(self.info.num_images, self.config.frechet.num_real):
            real_moments.fix()

    def _refresh(self, step_info: StepInfo) -> None:
        """Refresh the template every few epochs and at the end, for runs that start from this one."""
        template, every = self.network.template, self.config.shape.refresh_every
        is_last = step_info.step + 1 == step_info.num_steps
        periods = step_info.epoch // every if every else 0
        if every and (periods > int(template.refreshed) or is_last):
            template.refresh(self.network.shape)
            template.refreshed.fill_(periods)
        elif is_last and self.config.parts.use == "always" and self.config.parts.learn:
            template.settle_parts()

    def _prune(self, step_info: StepInfo) -> None:
        """Drop an equal share of the cameras after each of the given epochs."""
        config, multiplex = self.config.camera, self.network.multiplex
        assert multiplex is not None
        passed = sum(step_info.epoch >= epoch for epoch in config.prune_epochs)
        if not passed:
            return
        total = config.azimuths * len(config.elevations_deg)
        wanted = total - (total - config.keep) * passed // len(config.prune_epochs)
        if int(multiplex.num_kept) > wanted:
            multiplex.prune(wanted)
            multiplex.reset_scores()

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Initialise from an earlier run's template, its parts, and all networks of equal sizes.

        From a pose search, take the mesh as the template, and the poses as the anchor of D_cam.

        Raises:
            CheckpointError: its template has another mesh, or no parts although this recipe keeps them.
        """
        if is_pose_search(state):
            start_from_poses(self.network, state, where)
            return
        own, state = self.state_dict(), self._with_cameras_spread(state)
        needed = ["network.template.positions", "network.template.origin", "network.shape.last.weight"]
        keeps_parts = self.config.parts.use == "always" and not self.config.parts.learn
        needed += ["network.template.parts"] if keeps_parts else []
        for name in needed:
            theirs = state.get(name)
            if theirs is None or theirs.shape != own[name].shape or (name.endswith("parts") and not theirs.any()):
                found = "nothing" if theirs is None else f"{tuple(theirs.shape)}"
                raise CheckpointError(
                    f"{where} has {found} for {name}, this recipe needs {tuple(own[name].shape)}, learned",
                    "start from a run with the same model.shape, and the same parts if this recipe keeps them",
                )
        fits = {
            name: value
            for name, value in state.items()
            if name in own and own[name].shape == value.shape and not name.startswith(STARTS_ANEW)
        }
        self.load_state_dict({**own, **fits})

    def _with_cameras_spread(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Convert an earlier run's one camera to this run's hypotheses around it."""
        names = [f"network.camera.{name}" for name in ("head.weight", "head.bias", "base")]
        single = [state[name] for name in names if name in state]
        camera = self.network.camera
        if not isinstance(camera, CameraDecoder) or self.config.camera.kind != "hypotheses":
            return state
        if len(single) != 3 or len(single[2]) != 1:
            return state
        spread = camera.spread(*single)
        return {**state, **{f"network.camera.{name}": value for name, value in spread.items()}}

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One textured mesh per sample, with the most probable camera of D_cam."""
        found = self.network.reconstruct(batch)
        return [Reconstruction(name, mesh, camera) for name, (mesh, camera) in zip(batch.ids, found, strict=True)]
