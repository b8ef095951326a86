"""Neural textured deformable meshes: their inputs, their loss, their banks, and what they recognise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.collectives import share_of_weighted_mean
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.core.model import (
    Carry,
    LossOutput,
    ObjectRecogniser,
    Phase,
    Recognition,
    ReconstructionModel,
    Term,
)
from raylift.core.step_info import StepInfo
from raylift.core.stopwatch import Stopwatch
from raylift.core.types import Batch, Camera, Reconstruction, SampleRequest
from raylift.losses.surface_contrast import surface_contrast_loss
from raylift.models.dmnt.augmentation import Augmentation
from raylift.models.dmnt.config import DmntConfig
from raylift.models.dmnt.inference.pipeline import Fits, Matcher
from raylift.models.dmnt.inference.posterior import ClassPosterior
from raylift.models.dmnt.inference.recognition import fitted_meshes, recognise_features
from raylift.models.dmnt.inference.stages import FEATURES, PREPARATION
from raylift.models.dmnt.matching import match_scores
from raylift.models.dmnt.network import DmntNetwork
from raylift.models.dmnt.pasting import pasted
from raylift.models.dmnt.sampling import (
    SurfaceSamples,
    TrueView,
    background_samples,
    candidates,
    covered_cells,
    drawn_places,
)
from raylift.rendering.surface_transform.coverage import cover_texels
from raylift.rendering.surface_transform.transform import texel_features

MASSES = ("own_place", "same_surface", "other_category", "background")
"""Logged probabilities of the four kinds of candidates."""


class DmntModel(ObjectRecogniser, ReconstructionModel):
    """Features of images and of surfaces that meet where both show the same place (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights and banks depend on it alone.
        info: description of the data set.

    Raises:
        DataError: a data set without categories.
    """

    def __init__(self, config: DmntConfig, seed: int, info: DatasetInfo) -> None:
        super().__init__()
        if not info.categories:
            raise DataError(
                "the data set has no categories, and a template belongs to a category",
                "prepare it from a source that names each object's category",
            )
        self.config, self._categories = config, info.categories
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "dmnt", "weights"))
            self.network = DmntNetwork(config, info.categories, info.num_images, seed)
        self.posterior = ClassPosterior(config.inference.temperature, config.inference.none_score)
        self._matcher: Matcher | None = None

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self._categories

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase; images' latents are a group of their own."""
        return (Phase("fit", tuple(self.parameter_groups())),)

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """The backbone, and the latents of the training images if the loss moves them."""
        features = [parameter for parameter in self.network.features.parameters() if parameter.requires_grad]
        groups: dict[str, Sequence[nn.Parameter]] = {"features": features}
        if self.network.latents is not None:
            groups["latents"] = [self.network.latents]
        return groups

    @property
    def request(self) -> SampleRequest:
        """The whole image with its background, visible silhouette, true camera and category."""
        learned = self.network.latents is not None
        return SampleRequest(
            self.config.image_px, background=True, category=True, supervised_camera=True, image_index=learned
        )

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The contrastive loss, a mean over the surface samples of the global batch; carries what banks are moved by.

        Terms of weight 0 are the mean probabilities of the four kinds of candidates: "own_place" is the share of
        features that find their place.
        """
        config, network, wanted = self.config, self.network, self.config.contrast
        change = Augmentation.drawn(config.augmentation, batch.keys, step_info)
        image, mask = change.image(batch["image"]), change.flipped(batch["mask"])
        image, mask = pasted(image, mask, batch.keys, config.augmentation.paste, step_info)
        features = network.encode(image)
        with torch.autocast(features.device.type, enabled=False):
            view = self._true_view(batch, network.training_latents(batch), mask, change)
            category = view.category
            surface = self.surface_samples(features, view, batch.keys, step_info)
            background = background_samples(features, view.background, wanted.num_background, batch.keys, step_info)
            compared = candidates(surface, background, network.texture, category, batch.keys, wanted, step_info)
            found = surface_contrast_loss(surface.features, compared, wanted.weights, wanted.temperature)
            counts = surface.valid.to(found.loss.dtype)
            terms = [Term("contrast", share_of_weighted_mean(found.loss, counts))]
            terms += [
                Term(name, share_of_weighted_mean(mass, counts), 0.0)
                for name, mass in zip(MASSES, found.masses.unbind(dim=-1), strict=True)
            ]
            if network.latents is not None:
                sizes = network.latents[batch["image_index"]].square().sum(dim=1) / 2
                share = share_of_weighted_mean(sizes, (batch["category"] >= 0).to(sizes.dtype))
                terms.append(Term("latent_size", share, config.prior))
        return LossOutput(
            terms,
            {
                "category": category,
                "texels": surface.texels,
                "surface": surface.features.detach(),
                "surface_valid": surface.valid,
                "background": background.features.detach(),
                "background_valid": background.valid,
            },
        )

    def _true_view(
        self,
        batch: Batch,
        latent: Float[Tensor, "B L"],
        mask: Float[Tensor, "B 1 H W"],
        change: Augmentation | None = None,
    ) -> TrueView:
        """What the true cameras show of the templates, where the object is seen.

        Args:
            mask: what is seen of the object, in images that were changed by ``change``.
        """
        config, category = self.config, batch["category"]
        known = category >= 0
        fragments = self.network.fragments(category.clamp(min=0), latent, known_camera(batch), config.cells)
        if change is not None:
            fragments = change.fragments(fragments)
        shown = covered_cells(mask, config.cells) * known[:, None, None]
        fragments = replace(fragments, mask=fragments.mask & (shown > config.visible_above))
        if self.network.latents is None:
            fragments = replace(fragments, uv=fragments.uv.detach())
        return TrueView(category.clamp(min=0), fragments, shown <= config.background_below)

    def surface_samples(
        self, features: Float[Tensor, "B D S S"], view: TrueView, keys: Int[Tensor, "B"], step_info: StepInfo
    ) -> SurfaceSamples:
        """Visible places with their features, carried to texels, or read off the cells themselves."""
        fragments, category = view.fragments, view.category
        texture, wanted = self.network.texture, self.config.contrast
        if wanted.reading == "direct":
            places, valid = drawn_places(
                fragments.mask.flatten(1), wanted.num_surface, keys, step_info, "surface cells"
            )
            uv = _at(fragments.uv.flatten(1, 2), places)
            positive = texture.read(category, uv[:, None], unseen=True)[:, 0].to(features.dtype)
            texels = texture.texels_at(uv.detach())
            return SurfaceSamples(
                _at(features.flatten(2).mT, places), texels, texture.directions[texels], positive, valid
            )
        coverage = cover_texels(fragments, texture.config.texels, wanted.transform)
        seen = coverage.num_quads.flatten(1) > 0
        places, valid = drawn_places(seen, wanted.num_surface, keys, step_info, "surface texels")
        positive = texture.texel_features(category[:, None].expand_as(places), places).to(features.dtype)
        carried = texel_features(features, fragments, coverage.select(places)).mT
        return SurfaceSamples(
            nn.functional.normalize(carried, dim=-1), places, texture.directions[places], positive, valid
        )

    @torch.no_grad()
    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Move the banks towards what the global batch showed."""
        texture = self.network.texture
        texture.update(carry["category"], carry["texels"], carry["surface"], carry["surface_valid"])
        texture.update_clutter(carry["background"], carry["background_valid"], step_info.seed, step_info.step)

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """How well visible cells find their place at the true pose, without fitting anything (``matching``)."""
        view = self._true_view(batch, self.network.mean_latents(batch["category"].clamp(min=0)), batch["mask"])
        return match_scores(self.network.encode(batch["image"]), view, self.network.texture)

    def recognise(self, batch: Batch, category: Int[Tensor, "B"] | None = None) -> Recognition:
        """Class, pose and outlines by fitting every proposed category's mesh; the batch's camera is not read."""
        return self._fitted(batch, category)[0]

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """The deformed mesh of the most probable category in its pose, coloured by the image."""
        found, fits = self._fitted(batch, None)
        meshes = fitted_meshes(fits, batch["image"], found.visible)
        return [Reconstruction(name, mesh, camera) for name, (mesh, camera) in zip(batch.ids, meshes, strict=True)]

    def _fitted(self, batch: Batch, category: Int[Tensor, "B"] | None) -> tuple[Recognition, Fits]:
        network, config, watch = self.network, self.config, self.stopwatch or Stopwatch()
        with watch.stage(FEATURES), torch.no_grad():
            features = network.encode(batch["image"])
        with torch.autocast(features.device.type, enabled=False):
            with watch.stage(PREPARATION):
                if self._matcher is None:
                    self._matcher = Matcher.of(network.texture, network.templates, config.inference, config.cells)
            return recognise_features(self._matcher, self.posterior, features, config.image_px, category, watch)

    def train(self, mode: bool = True) -> DmntModel:
        """Set the mode; inference prepares banks and templates again, which training may have changed."""
        self._matcher = None
        super().train(mode)
        return self

    def doubts(self) -> tuple[str, ...]:
        """Categories and clutter that were hardly ever seen."""
        texture = self.network.texture
        shares = texture.known.flatten(1).double().mean(dim=1).tolist()
        never = [name for name, share in zip(self.categories, shares, strict=True) if share == 0]
        found = []
        if never:
            found.append(
                f"no training image showed the surface of {', '.join(never)}, so they cannot be recognised: train"
                " longer, or leave these categories out of the data set"
            )
        rare = [f"{name} ({share:.0%})" for name, share in zip(self.categories, shares, strict=True) if 0 < share < 0.3]
        if rare:
            found.append(
                f"training images showed little of the surface of {', '.join(rare)}: use images from more sides, or"
                " check that cameras and silhouettes belong together"
            )
        if len(texture.clutter) and bool((texture.idle >= texture.config.clutter_patience).all()):
            found.append(
                "no background was ever seen, so clutter has no prototypes: use images with a background, or set"
                " model.texture.num_clutter=0"
            )
        return tuple(found)

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Take templates and fitted shapes of a run of ``templates/``, or all of another run of this model."""
        if any(name.startswith("network.texture.") for name in state):
            super().load_pretrained(state, where)
            return
        if not self.config.templates.deforms:
            state = {name: value for name, value in state.items() if not name.startswith("templates.deformation.")}
        self.network.templates.load_from(state, where)
        if self.config.start_shapes == "objects" and "object_keys" in state and "latents" in state:
            self.network.objects.fill(state["object_keys"], state["latents"])


def known_camera(batch: Batch) -> Camera:
    """The batch's camera.

    Raises:
        DataError: it has none.
    """
    if batch.camera is None:
        raise DataError(
            f"images {', '.join(batch.ids[:3])} have no camera, which trains their features",
            "prepare a data set with known cameras, such as scenes:FOLDER",
        )
    return batch.camera


def _at(values: Float[Tensor, "B T D"], places: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))
