"""The implicit SDF+RGB family: what it needs, what it minimises, what it makes of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.clock import Clock
from raylift.core.collectives import share_of_mean, share_of_weighted_mean
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.family import Family, Phase, Term
from raylift.core.generators import stable_hash
from raylift.core.types import Batch, Field, Reconstruction, SampleRequest
from raylift.families.implicit.config import ImplicitConfig
from raylift.families.implicit.mirroring import drawn_mirrors, mirrored
from raylift.families.implicit.model import EncodedScene, ImplicitNetwork
from raylift.families.implicit.readers.pretrained import PretrainedMapReader
from raylift.families.implicit.readers.prior import PriorReader
from raylift.losses.signed_distance_color import sign_cross_entropy, signed_distance_color_l1


class ImplicitFamily(Family):
    """Coloured signed distance fields from one image and what is known of its shape (see README.md here).

    Args:
        config: the recipe's family part.
        seed: the run's; the initial weights and the Fourier matrix depend on it and on nothing else.
    """

    def __init__(self, config: ImplicitConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        # Initial weights belong to the seed, not to how often the process has drawn before; the process's own
        # generator is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "implicit", "weights"))
            self.network = ImplicitNetwork(config, seed)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, which trains a pretrained encoder too unless that is frozen."""
        return (Phase("fit", tuple(self.players())),)

    def players(self) -> dict[str, Sequence[nn.Parameter]]:
        """The model, and a pretrained encoder that learns at a rate of its own."""
        encoder = [] if self._pretrained is None else list(self._pretrained.encoder.parameters())
        others = {id(parameter) for parameter in encoder}
        players: dict[str, Sequence[nn.Parameter]] = {
            "model": [value for value in self.parameters() if value.requires_grad and id(value) not in others]
        }
        return players | ({"encoder": encoder} if self.config.pretrained.rate else {})

    def rate_factor(self, player: str) -> float:
        return self.config.pretrained.rate if player == "encoder" else 1.0

    @property
    def _pretrained(self) -> PretrainedMapReader | None:
        return next((one for one in self.network.readers.values() if isinstance(one, PretrainedMapReader)), None)

    @property
    def example_request(self) -> ExampleRequest | None:
        """The shapes that the prior is looked up in."""
        prior = self.config.prior
        return ExampleRequest(num_objects=prior.num_objects) if prior.num_neighbors else None

    def keep_examples(self, examples: Examples) -> None:
        prior = self.network.readers["prior"]
        assert isinstance(prior, PriorReader)
        prior.bank.keep(examples)

    @property
    def request(self) -> SampleRequest:
        """An image with its camera, supervised points, and what the recipe conditions on and reads."""
        config = self.config
        return SampleRequest(
            config.image_px,
            config.points,
            config.conditioning.voxel_request(),
            num_told_points=config.num_told_points,
            mask_distance=config.needs_mask_distance,
            depth=config.needs_depth,
        )

    def losses(self, phase: str, batch: Batch, clock: Clock) -> list[Term]:
        """Equation 4, as the mean over the global batch's points, and the sign's cross entropy if asked for."""
        config, weights = self.config, self.config.weights
        if config.mirror:
            batch = mirrored(batch, drawn_mirrors(batch, clock))
        sdf, color = self.network.decode(self.network.encode(batch), batch["points"])
        true_sdf = batch["sdf"].clamp(-config.truncation, config.truncation)
        sdf_error, color_error = signed_distance_color_l1(sdf, color, true_sdf, batch["color"])
        if weights.color_near:
            color_share = share_of_weighted_mean(color_error, (true_sdf / weights.color_near).square().neg().exp())
        else:
            color_share = share_of_mean(color_error)
        terms = [Term("sdf", share_of_mean(sdf_error), weights.sdf), Term("color", color_share, weights.color)]
        if weights.sign:
            sign_error = sign_cross_entropy(sdf, true_sdf, weights.sign_scale, weights.sign_inside)
            terms.append(Term("sign", share_of_mean(sign_error), weights.sign))
        return terms

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One field a sample: the encoders run now, once; the decoder runs when the field is queried."""
        scenes = self.network.encode(batch)
        camera = scenes.camera
        return [
            Reconstruction(name, self._field(scenes.sample(index)), camera[index])
            for index, name in enumerate(batch.ids)
        ]

    def _field(self, scene: EncodedScene) -> Field:
        network = self.network

        @torch.no_grad()
        def query(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
            sdf, color = network.decode(scene, points[None])
            return sdf[0].float(), color[0].float()

        @torch.no_grad()
        def values(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
            return network.decode_distance(scene, points[None])[0].float()

        return Field(query, device=scene.camera.focal.device, values=values)
