"""The implicit SDF+RGB model: its inputs, its losses, its reconstructions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.collectives import share_of_mean, share_of_weighted_mean
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Field, Reconstruction, SampleRequest
from raylift.losses.signed_distance_color import sign_cross_entropy, signed_distance_color_l1
from raylift.models.implicit.config import ImplicitConfig
from raylift.models.implicit.mirroring import drawn_mirrors, mirrored
from raylift.models.implicit.network import EncodedScene, ImplicitNetwork
from raylift.models.implicit.readers.pretrained import PretrainedMapReader
from raylift.models.implicit.readers.prior import PriorReader
from raylift.models.implicit.readers.reader import Reading
from raylift.models.implicit.view import View


class ImplicitModel(ReconstructionModel):
    """Coloured signed distance fields from one image and optional shape inputs (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights and the Fourier matrix depend on it alone.
    """

    def __init__(self, config: ImplicitConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        # Initial weights depend on the seed, not on earlier draws of the process, whose generator keeps its state.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "implicit", "weights"))
            self.network = ImplicitNetwork(config, seed)
            others = [stable_hash(seed, "implicit", "member", index) for index in range(1, config.members)]
            self.others = nn.ModuleList(ImplicitNetwork(config, other) for other in others)

    @property
    def networks(self) -> tuple[ImplicitNetwork, ...]:
        """All members, whose predictions are averaged."""
        networks = [self.network, *self.others]
        assert all(isinstance(network, ImplicitNetwork) for network in networks)
        return tuple(networks)  # type: ignore[arg-type]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, which also trains a pretrained encoder unless it is frozen."""
        return (Phase("fit", tuple(self.parameter_groups())),)

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """The model, and a pretrained encoder, whose learning rate is ``optimizers.encoder.learning_rate``."""
        encoder = [value for reader in self._pretrained for value in reader.encoder.parameters()]
        others = {id(parameter) for parameter in encoder}
        groups: dict[str, Sequence[nn.Parameter]] = {
            "model": [value for value in self.parameters() if value.requires_grad and id(value) not in others]
        }
        return groups | ({"encoder": encoder} if encoder and not self.config.pretrained.frozen else {})

    @property
    def _pretrained(self) -> list[PretrainedMapReader]:
        readers = [reader for network in self.networks for reader in network.readers.values()]
        return [reader for reader in readers if isinstance(reader, PretrainedMapReader)]

    @property
    def example_request(self) -> ExampleRequest | None:
        """The shapes that the prior retrieves from."""
        prior = self.config.prior
        return ExampleRequest(num_objects=prior.num_objects) if prior.num_neighbors else None

    def keep_examples(self, examples: Examples) -> None:
        for network in self.networks:
            prior = network.readers["prior"]
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

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """Equation 4, as the mean over the global batch's points, and the sign's cross entropy if enabled.

        Each member is trained by its own prediction: the mean over members of their losses, not the loss of their mean.
        """
        config, weights = self.config, self.config.weights
        if config.mirror:
            batch = mirrored(batch, drawn_mirrors(batch, step_info))
        view = View(batch)
        shared: dict[str, Reading] = {}
        found = [network.decode(network.encode_view(view), batch["points"], shared) for network in self.networks]
        sdf, color = (torch.cat(parts) for parts in zip(*found, strict=True))
        true_sdf = batch["sdf"].clamp(-config.truncation, config.truncation).repeat(len(found), 1)
        true_color = batch["color"].repeat(len(found), 1, 1)
        sdf_error, color_error = signed_distance_color_l1(sdf, color, true_sdf, true_color)
        if weights.color_near:
            color_share = share_of_weighted_mean(color_error, (true_sdf / weights.color_near).square().neg().exp())
        else:
            color_share = share_of_mean(color_error)
        terms = [Term("sdf", share_of_mean(sdf_error), weights.sdf), Term("color", color_share, weights.color)]
        if weights.sign:
            sign_error = sign_cross_entropy(sdf, true_sdf, weights.sign_scale, weights.sign_inside)
            terms.append(Term("sign", share_of_mean(sign_error), weights.sign))
        return LossOutput(terms)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One field per sample: the encoders run once, here; the decoder runs when the field is queried."""
        view = View(batch)
        scenes = [network.encode_view(view) for network in self.networks]
        return [
            Reconstruction(name, self._field([scene.sample(index) for scene in scenes]), view.camera[index])
            for index, name in enumerate(batch.ids)
        ]

    def _field(self, scenes: Sequence[EncodedScene]) -> Field:
        """The mean of all members' distances and colours."""
        members = list(zip(self.networks, scenes, strict=True))

        @torch.no_grad()
        def query(points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
            shared: dict[str, Reading] = {}
            found = [network.decode(scene, points[None], shared) for network, scene in members]
            sdf, color = (torch.cat(parts).float().mean(0) for parts in zip(*found, strict=True))
            return sdf, color

        @torch.no_grad()
        def values(points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
            shared: dict[str, Reading] = {}
            found = [network.decode_distance(scene, points[None], shared) for network, scene in members]
            return torch.cat(found).float().mean(0)

        return Field(query, device=scenes[0].camera.focal.device, values=values)
