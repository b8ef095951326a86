"""Category templates that a latent per object deforms, all of one topology and in one chart.

Every template is an octasphere (``geometry.octahedral``), so a point of the chart is a face and a place on it for every
category and every deformation, and a texture in the chart fits them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.device_copies import require
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.types import Mesh
from raylift.geometry.octahedral import USUAL_LEVEL, octasphere
from raylift.networks.coordinate_offsets import CoordinateOffsets, bounded

TemplateKind = Literal["hull", "cuboid"]
START_RADIUS = 0.4
NUM_STRETCHES = 3
NAME_BYTES = 64
"""Longest name of a category in UTF-8, stored with the templates."""


@dataclass(frozen=True)
class DeformableTemplatesConfig:
    """Sizes of the templates and of their deformation.

    Attributes:
        kind: initial shape of a category: "hull", wrapped around its training shapes, or "cuboid", NeMo's box of their
            mean extents.
        level: segments per edge of the octahedron; 4 level^2 + 2 vertices.
        deforms: whether latents deform the templates.
        latent: size of an object's latent.
        hidden: width of the deformation network.
        layers: number of its layers.
        octaves: number of its sine and cosine pairs per coordinate.
        max_offset: limit of a vertex's offset, as a fraction of the diagonal of the template's bounding box. Templates
            that are loaded from another run keep that run's.
        max_stretch: limit of the logarithm of an object's stretch along each axis, which the latent's first three
            values give; 0 for none. Extents differ more than anything else between objects of a category, and a
            network that saw few of them does not extrapolate. Loaded templates keep theirs.
    """

    kind: TemplateKind = "hull"
    level: int = USUAL_LEVEL
    deforms: bool = True
    latent: int = 16
    hidden: int = 128
    layers: int = 3
    octaves: int = 3
    max_offset: float = 0.15
    max_stretch: float = 0.0

    def __post_init__(self) -> None:
        if min(self.level, self.latent, self.hidden) < 1 or self.layers < 2 or self.octaves < 0:
            raise ConfigError(
                f"templates of level {self.level}, latent {self.latent}, hidden {self.hidden}, layers {self.layers},"
                f" octaves {self.octaves}",
                "use at least 1 for sizes, 2 layers and 0 octaves",
            )
        if not 0 < self.max_offset <= 1:
            raise ConfigError(f"max_offset is {self.max_offset}", "use a value in (0, 1]; 0.15 is usual")
        if not 0 <= self.max_stretch <= 2 or (self.max_stretch and self.latent < NUM_STRETCHES):
            raise ConfigError(
                f"max_stretch is {self.max_stretch}, latent {self.latent}",
                "use a stretch of 0 for none, up to 2, and a latent of 3 or more with it",
            )


class DeformableTemplates(nn.Module):
    """Template V_c plus a bounded offset of every vertex, a neural field of the object's latent; then stretched.

    V = exp(s tanh z_1..3) * (V_c + offset(z)), the stretch about the origin, the centre of every object's bounding box.

    Untrained, all templates are spheres, or cubes for "cuboid", and latents do not move them.

    Args:
        config: sizes, see ``DeformableTemplatesConfig``.
        categories: names of the categories, in order.
        seed: seed of the deformation network.

    Attributes:
        vertices: undeformed templates, world frame.
        faces: counter-clockwise seen from outside, the same for every category.
        corner_uvs: chart coordinates of each face's corners, see ``geometry.octahedral``.
        latent_mean: mean of the latents of each category's training objects.
        latent_factor: lower triangular F of each category, whose F F^T is the covariance of those latents.
        max_offset: limit of a vertex's offset, relative to the template's diagonal.
        max_stretch: limit of the logarithm of a stretch; 0 for none.
        names: names of the categories, UTF-8, zero-padded.

    Raises:
        ConfigError: no category, one without a name, or two with one name.
    """

    vertices: Tensor
    faces: Tensor
    corner_uvs: Tensor
    latent_mean: Tensor
    latent_factor: Tensor
    max_offset: Tensor
    max_stretch: Tensor
    names: Tensor
    directions: Tensor

    def __init__(self, config: DeformableTemplatesConfig, categories: Sequence[str], seed: int = 0) -> None:
        super().__init__()
        if not categories or not all(categories) or len(set(categories)) < len(categories):
            raise ConfigError(
                f"templates of the categories {list(categories)}",
                "prepare a data set whose objects have categories (a folder each), each with a name of its own",
            )
        self.config, self.categories = config, tuple(categories)
        count, latent = len(categories), config.latent
        directions, faces, corner_uvs = octasphere(config.level)
        start = START_RADIUS * (as_cube(directions) if config.kind == "cuboid" else directions)
        self.register_buffer("vertices", start.expand(count, -1, -1).clone())
        self.register_buffer("faces", faces)
        self.register_buffer("corner_uvs", corner_uvs)
        self.register_buffer("latent_mean", torch.zeros(count, latent))
        self.register_buffer("latent_factor", torch.eye(latent).expand(count, -1, -1).clone())
        self.register_buffer("max_offset", torch.full((count,), config.max_offset))
        self.register_buffer("max_stretch", torch.full((count,), config.max_stretch))
        self.register_buffer("names", encode_names(self.categories))
        self.register_buffer("directions", directions, persistent=False)
        self.deformation: CoordinateOffsets | None = None
        if config.deforms:
            self.deformation = CoordinateOffsets(count, latent, config.hidden, config.layers, config.octaves, seed)

    @property
    def num_vertices(self) -> int:
        return int(self.vertices.shape[1])

    def undeformed(self, category: Int[Tensor, "B"]) -> Float[Tensor, "B V 3"]:
        """The templates themselves.

        Raises:
            DataError: a category without a template, such as -1.
        """
        require(
            (category >= 0) & (category < len(self.categories)),
            f"samples of a category without a template; templates are numbered from 0 to {len(self.categories) - 1}",
            "leave out objects whose category is not in the training split (data.categories)",
        )
        return self.vertices[category]

    def offsets(self, category: Int[Tensor, "B"], latent: Float[Tensor, "B L"]) -> Float[Tensor, "B V 3"]:
        """Offset of each vertex from the undeformed template, world units; shorter than ``max_offset`` allows."""
        start = self.undeformed(category)
        if self.deformation is None:
            return torch.zeros_like(start)
        with torch.autocast(start.device.type, enabled=False):
            raw = self.deformation(category, latent.to(start.dtype), start, self.directions)
            return bounded(raw, self.max_offset[category][:, None, None] * diagonals(start))

    def stretches(self, category: Int[Tensor, "B"], latent: Float[Tensor, "B L"]) -> Float[Tensor, "B 1 3"]:
        """Factor along each axis; 1 without deformation."""
        limit = self.max_stretch[category][:, None, None]
        if self.deformation is None:
            return torch.ones_like(limit).expand(-1, 1, 3)
        # A latent of fewer values has no stretch: the limit is 0.
        first = functional.pad(latent, (0, max(0, NUM_STRETCHES - latent.shape[1])))[:, None, :NUM_STRETCHES]
        return (limit * first.to(limit.dtype).tanh()).exp()

    def forward(self, category: Int[Tensor, "B"], latent: Float[Tensor, "B L"]) -> Float[Tensor, "B V 3"]:
        """Deformed templates, world frame; differentiable in the latent.

        Args:
            category: index of each sample's category.
            latent: latent of each sample's object.

        Raises:
            DataError: a category without a template, such as -1.
        """
        return (self.undeformed(category) + self.offsets(category, latent)) * self.stretches(category, latent)

    def latent_at(self, category: Int[Tensor, "B"], unit: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        """The latent at standard-normal coordinates: mean + F z. A fit that starts at z = 0 starts at the mean shape,
        and |z|^2 / 2 is its cost under the prior."""
        return self.latent_mean[category] + (self.latent_factor[category] @ unit[..., None])[..., 0]

    def mesh(self, category: int, latent: Float[Tensor, "L"] | None = None) -> Mesh:
        """One mesh with its chart; without a latent, the undeformed template."""
        index = torch.tensor([category], device=self.vertices.device)
        vertices = self.undeformed(index) if latent is None else self(index, latent[None])
        return Mesh(vertices[0], self.faces, corner_uvs=self.corner_uvs)

    @torch.no_grad()
    def load_from(self, state: Mapping[str, Tensor], where: str, prefix: str = "templates.") -> None:
        """Take these categories' templates, deformation and priors from another model's state, by their names.

        If these templates do not deform, the deformation is left out.

        Args:
            state: a ``state_dict`` that has a ``DeformableTemplates`` under ``prefix``.
            where: names the checkpoint in errors.

        Raises:
            CheckpointError: it has no templates, templates without this chart, or lacks a category.
        """
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if "vertices" not in own or "names" not in own:
            raise CheckpointError(f"{where} has no templates", "start from a run that fits templates to shapes")
        for name in ("faces", "corner_uvs"):
            mine = getattr(self, name)
            if name not in own or own[name].shape != mine.shape or not torch.equal(own[name].to(mine), mine):
                raise CheckpointError(
                    f"the templates of {where} do not have the octahedral chart of level {self.config.level}",
                    "use the level that they were trained with, or train templates again",
                )
        known = decode_names(own["names"])
        missing = [name for name in self.categories if name not in known]
        if missing:
            raise CheckpointError(
                f"{where} has no template of {', '.join(missing)}, only of {', '.join(known)}",
                "train templates on a data set with these categories, or choose others (data.categories)",
            )
        rows = torch.tensor([known.index(name) for name in self.categories])
        if self.deformation is None:
            own = {name: value for name, value in own.items() if not name.startswith("deformation.")}
        picked = {name: value if name in ("faces", "corner_uvs") else value[rows] for name, value in own.items()}
        try:
            self.load_state_dict(picked, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"the templates of {where} have other sizes: {str(error)[:300]}",
                "use the same latent, width, layers and octaves as the run that trained them",
            ) from None


def as_cube(directions: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
    """Where rays in these directions leave the cube [-1, 1]^3."""
    return directions / directions.abs().amax(dim=-1, keepdim=True)


def diagonals(vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B 1 1"]:
    """Diagonal of each bounding box, world units."""
    extents = vertices.amax(dim=1, keepdim=True) - vertices.amin(dim=1, keepdim=True)
    return torch.linalg.vector_norm(extents, dim=-1, keepdim=True)


def encode_names(categories: Sequence[str]) -> Tensor:
    """Names as bytes, [C, 64].

    Raises:
        ConfigError: a name is too long.
    """
    encoded = torch.zeros(len(categories), NAME_BYTES, dtype=torch.uint8)
    for row, name in zip(encoded, categories, strict=True):
        text = name.encode()
        if len(text) > NAME_BYTES:
            raise ConfigError(f"the category {name!r} has a name of {len(text)} bytes", f"use at most {NAME_BYTES}")
        row[: len(text)] = torch.tensor(list(text), dtype=torch.uint8)
    return encoded


def decode_names(names: Int[Tensor, "C N"]) -> list[str]:
    """The inverse of ``encode_names``."""
    return [bytes(row.tolist()).rstrip(b"\0").decode() for row in names]
