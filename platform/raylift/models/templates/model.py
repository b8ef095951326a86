"""Templates as a model: its inputs, its terms and its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.collectives import share_of_weighted_mean
from raylift.core.dataset_info import DatasetInfo
from raylift.core.device_copies import numbers_of, require, upload
from raylift.core.errors import ConfigError
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.generators import stable_hash, torch_generator
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Mesh, Reconstruction, SampleRequest, VoxelRequest
from raylift.geometry.laplacian import Adjacency, adjacency, uniform_laplacian
from raylift.losses.inside_out import insideout_share
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.models.templates.config import TemplatesConfig
from raylift.models.templates.fitting import fit_latents, summarise_latents, surface_error
from raylift.models.templates.wrapping import wrap_templates
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_silhouette import soft_silhouette

FEW_OBJECTS = 8
START_STD = 0.1
"""Standard deviation of latents at the start."""


class TemplatesModel(ReconstructionModel):
    """Templates, their deformation, and a latent per training object, all fitted by Chamfer distances.

    Args:
        config: the recipe's model config.
        seed: seed of the deformation network and of the latents.
        info: description of the data set: its categories and its number of objects.

    Attributes:
        latents: one row per training object, in the order of ``object_keys``.
        object_keys: sorted hashes of the training objects' ids.
        object_categories: category of each; -1 until the training objects are known.

    Raises:
        ConfigError: the data set has no training objects or no categories.
    """

    object_keys: Tensor
    object_categories: Tensor
    edges: Tensor
    edge_faces: Tensor
    degree: Tensor

    def __init__(self, config: TemplatesConfig, seed: int, info: DatasetInfo) -> None:
        super().__init__()
        if not info.num_objects:
            raise ConfigError("templates of no training object", "train on a prepared data set of shapes")
        self.config = config
        self.templates = DeformableTemplates(config.templates, info.categories, seed)
        draws = torch_generator(seed, "latents")
        self.latents = nn.Parameter(START_STD * torch.randn(info.num_objects, config.templates.latent, generator=draws))
        self.register_buffer("object_keys", torch.zeros(info.num_objects, dtype=torch.int64))
        self.register_buffer("object_categories", torch.full((info.num_objects,), -1))
        mesh = adjacency(self.templates.faces, self.templates.num_vertices)
        for name, value in vars(mesh).items():
            self.register_buffer(name, value, persistent=False)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Network and latents together."""
        return (Phase("fit", ("deformation", "latents")),)

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        return {"deformation": list(self.templates.parameters()), "latents": [self.latents]}

    @property
    def request(self) -> SampleRequest:
        """Surface points, silhouette and signed distances of the true shape, and its category."""
        distances = VoxelRequest("gt_sdf", "occupancy")
        return SampleRequest(
            self.config.image_px, voxels=distances, num_told_points=self.config.num_points, category=True
        )

    @property
    def example_request(self) -> ExampleRequest:
        """Shapes that initial templates are made of."""
        return ExampleRequest(self.config.num_objects, num_views=1, num_points=self.config.num_points)

    @torch.no_grad()
    def keep_examples(self, examples: Examples) -> None:
        """Make initial templates, and take down the training objects' names and categories.

        Raises:
            DataError: a category has no training object.
        """
        wrap_templates(self.templates, examples, self.config.enclosed)
        named = sorted((stable_hash(name), category) for name, category in examples.categories.items())
        self.object_keys.copy_(torch.tensor([key for key, _ in named]))
        self.object_categories.copy_(torch.tensor([category for _, category in named]))

    def rows_of(self, ids: Sequence[str]) -> Int[Tensor, "B"]:
        """The rows of these samples' latents.

        Raises:
            DataError: a sample is not of a training object.
        """
        wanted = torch.tensor([stable_hash(name.rpartition("#")[0]) for name in ids])
        keys = upload(wanted, self.object_keys.device)
        rows = torch.searchsorted(self.object_keys, keys).clamp(max=len(self.object_keys) - 1)
        is_known = self.object_keys[rows] == keys
        first = "" if keys.device.type == "cuda" or bool(is_known.all()) else ids[int(is_known.int().argmin())]
        require(
            is_known,
            f"{first or 'a sample'} is not one of the training objects that this run began with",
            "train a new run for another data set",
        )
        return rows

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """Chamfer distances of the batch's objects, and what keeps their deformation regular.

        Samples of no known category are left out.
        """
        config, weights = self.config, self.config.weights
        with torch.autocast(batch.keys.device.type, enabled=False):
            known = (batch["category"] >= 0).to(self.latents.dtype)
            category, points = batch["category"].clamp(min=0), batch["told_points"].to(self.latents.dtype)
            latent = self.latents[self.rows_of(batch.ids)]
            start = self.templates.undeformed(category)
            offsets = self.templates.offsets(category, latent)
            uniforms = upload(_draws(batch.keys, step_info, config.num_points), points.device).to(points)
            vertices = (start + offsets) * self.templates.stretches(category, latent)
            surface = surface_error(vertices, self.templates.faces, points, uniforms)
            inside_out = insideout_share(vertices, self.templates.faces, batch["voxels"][:, 0], uniforms)
            terms = [
                Term("surface", share_of_weighted_mean(surface, known), weights.surface),
                Term("silhouette", share_of_weighted_mean(self._missed(vertices, batch), known), weights.silhouette),
                Term("outward", share_of_weighted_mean(inside_out, known), weights.outward),
                Term("smooth", share_of_weighted_mean(self._roughness(offsets), known), weights.smooth),
                Term("edges", share_of_weighted_mean(self._stretch(start, offsets), known), weights.edges),
                Term("latent", share_of_weighted_mean(latent.square().mean(dim=1), known), weights.latent),
            ]
        return LossOutput(terms)

    def _missed(self, vertices: Float[Tensor, "B V 3"], batch: Batch) -> Float[Tensor, "B"]:
        """1 - IoU with each sample's silhouette, in its view."""
        assert batch.camera is not None, "shapes' views have cameras"
        screen = project_to_screen(vertices, batch.camera.to(vertices.device, vertices.dtype))
        drawn = soft_silhouette(screen, self.templates.faces, self.config.image_px)
        return silhouette_iou_loss(drawn, batch["mask"][:, 0])

    @property
    def _neighbors(self) -> Adjacency:
        return Adjacency(self.edges, self.edge_faces, self.degree)

    def _roughness(self, offsets: Float[Tensor, "B V 3"]) -> Float[Tensor, "B"]:
        return uniform_laplacian(offsets, self._neighbors).square().sum(dim=-1).mean(dim=1)

    def _stretch(self, start: Float[Tensor, "B V 3"], offsets: Float[Tensor, "B V 3"]) -> Float[Tensor, "B"]:
        """Mean squared difference of an edge's vector from the template's, relative to the mean squared edge."""
        first, second = self.edges.unbind(1)
        before = (start[:, first] - start[:, second]).square().sum(dim=-1).mean(dim=1)
        return (offsets[:, first] - offsets[:, second]).square().sum(dim=-1).mean(dim=1) / before

    @torch.no_grad()
    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Summarise the latents of each category."""
        summarise_latents(self.templates, self.latents, self.object_categories)

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """The template of each sample's category, deformed as ``config.answer`` says; with the colours of the points.

        The category and the points are told, so this is an upper bound for what an image can tell, not a prediction.

        Raises:
            DataError: a sample of a category without a template, or without surface points.
        """
        category, points = batch["category"], batch["told_points"].to(self.latents.dtype)
        colors = batch["told_colors"].to(points.dtype)
        with torch.autocast(points.device.type, enabled=False):
            vertices = self._answer(category, points)
            nearest = torch.cdist(vertices, points).argmin(dim=2)
        assert batch.camera is not None, "shapes' views have cameras"
        return [
            Reconstruction(
                name,
                Mesh(vertices[index], self.templates.faces, vertex_colors=colors[index][nearest[index]]),
                batch.camera[index],
            )
            for index, name in enumerate(batch.ids)
        ]

    def _answer(self, category: Int[Tensor, "B"], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B V 3"]:
        config = self.config
        if config.answer == "template":
            return self.templates.undeformed(category)
        self.templates.undeformed(category)  # refuses unknown categories before a prior is looked up
        if config.answer == "mean":
            return self.templates(category, self.templates.latent_mean[category])
        latent = fit_latents(self.templates, category, points, config.fit_steps, config.fit_prior)
        return self.templates(category, latent)

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Start from the templates, deformation and priors of another run, by the names of their categories.

        Raises:
            CheckpointError: it lacks a category, or has other sizes or another chart.
        """
        self.templates.load_from(state, where)

    def doubts(self) -> tuple[str, ...]:
        """Categories of few training objects."""
        counts = [int((self.object_categories == index).sum()) for index in range(len(self.templates.categories))]
        few = [
            f"{name} ({count})"
            for name, count in zip(self.templates.categories, counts, strict=True)
            if count < FEW_OBJECTS
        ]
        if not few:
            return ()
        return (
            f"few training shapes of {', '.join(few)}: their deformation covers little more than those objects. Add"
            " shapes, or keep latents near the mean where they are fitted",
        )


def _draws(keys: Int[Tensor, "B"], step_info: StepInfo, count: int) -> Float[Tensor, "B N 3"]:
    """Draws of each sample's points on the mesh, by its key and the step."""
    return torch.stack(
        [
            torch.rand(count, 3, generator=torch_generator(step_info.seed, "surface", step_info.step, key))
            for key in numbers_of(keys)
        ]
    )
