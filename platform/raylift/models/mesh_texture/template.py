"""The learned template: its shape, the features that refresh it, and the part of each vertex.

All of it is in buffers, so checkpoints include it. A step's additions are collected with its losses and stored after
the step, from all ranks in rank order, which is the order of the global batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.dataset_info import DatasetInfo
from raylift.geometry.icosphere import WORLD_RADIUS, SymmetricTemplate, symmetric_icosphere
from raylift.geometry.laplacian import Adjacency, adjacency
from raylift.geometry.uv_sphere import corner_uvs
from raylift.models.mesh_texture.bank import latest_rows
from raylift.models.mesh_texture.config import ShapeConfig


class Template(nn.Module):
    """V_temp, initialised to a sphere or an ellipsoid.

    A shape is the template plus D_shape(f) - ``origin``. A refresh adds D_shape(mean f) - ``origin`` to the template
    and sets ``origin`` to D_shape(mean f): no shape changes, only what counts as deformation.

    Args:
        config: level, symmetry and initial shape; if ``trained``, positions are a parameter.
        num_features: size of an image's feature.
        info: description of the data set.
    """

    positions: Tensor
    origin: Tensor
    features: Tensor
    has_feature: Tensor
    refreshed: Tensor
    votes: Tensor
    parts: Tensor
    source: Tensor
    reflection: Tensor
    mirror_vertex: Tensor
    mirror_face: Tensor
    faces: Tensor
    sphere: Tensor
    uvs: Tensor
    edges: Tensor
    edge_faces: Tensor
    degree: Tensor

    def __init__(self, config: ShapeConfig, num_features: int, info: DatasetInfo) -> None:
        super().__init__()
        sphere = symmetric_icosphere(config.level)
        self.part_mirror = info.part_mirror
        self.num_vertices = len(sphere.vertices)
        ellipsoid = sphere.vertices * torch.tensor(config.radii) / WORLD_RADIUS
        start = sphere.restrict(ellipsoid) if config.symmetric else ellipsoid
        if config.trained:
            self.positions = nn.Parameter(start.clone())
        else:
            self.register_buffer("positions", start.clone())
        self.register_buffer("origin", torch.zeros_like(start))
        self.register_buffer("features", torch.zeros(info.num_images, num_features))
        self.register_buffer("has_feature", torch.zeros(info.num_images, dtype=torch.bool))
        self.register_buffer("refreshed", torch.tensor(0))
        self.register_buffer("votes", torch.zeros(info.num_parts, self.num_vertices, dtype=torch.float64))
        self.register_buffer("parts", torch.zeros(info.num_parts, self.num_vertices))
        self._register_constants(sphere, config.symmetric)

    def _register_constants(self, sphere: SymmetricTemplate, symmetric: bool) -> None:
        """Register what follows from level and symmetry; not in checkpoints."""
        neighbours = adjacency(sphere.faces, self.num_vertices)
        constants = {
            "source": sphere.source if symmetric else torch.arange(self.num_vertices),
            "reflection": sphere.reflection if symmetric else torch.ones_like(sphere.reflection),
            "mirror_vertex": sphere.mirror_vertex if symmetric else torch.arange(self.num_vertices),
            "mirror_face": sphere.mirror_face,
            "faces": sphere.faces,
            "sphere": sphere.vertices,
            "uvs": corner_uvs(sphere.vertices, sphere.faces),
            "edges": neighbours.edges,
            "edge_faces": neighbours.edge_faces,
            "degree": neighbours.degree,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def num_predicted(self) -> int:
        """Vertices that determine a shape."""
        return len(self.positions)

    @property
    def neighbours(self) -> Adjacency:
        return Adjacency(self.edges, self.edge_faces, self.degree)

    def expand(self, predicted: Float[Tensor, "*B P 3"]) -> Float[Tensor, "*B V 3"]:
        """Expand predicted vertices, or offsets, to all vertices."""
        return predicted[..., self.source, :] * self.reflection

    @property
    def vertices(self) -> Float[Tensor, "V 3"]:
        return self.expand(self.positions)

    @torch.no_grad()
    def become(self, vertices: Float[Tensor, "V 3"]) -> None:
        """Set another shape; of symmetric shapes only the +X side is used."""
        self.positions.copy_(vertices[: self.num_predicted])

    def offsets(self, decoded: Float[Tensor, "B P 3"]) -> Float[Tensor, "B V 3"]:
        """delta V from the output of D_shape."""
        return self.expand(decoded - self.origin)

    @torch.no_grad()
    def keep_features(self, images: Int[Tensor, "N"], features: Float[Tensor, "N D"]) -> None:
        """Store this step's features; every rank must call it with its own.

        Args:
            images: ``image_index`` of this rank's samples.
        """
        index, rows = latest_rows(images, features)
        self.features[index] = rows.to(self.features.dtype)
        self.has_feature[index] = True

    @torch.no_grad()
    def refresh(self, decode: Callable[[Tensor], Tensor]) -> None:
        """Update to the shape of the mean feature of all images so far, and the parts voted for since the last refresh.

        Args:
            decode: D_shape, from features [N, D] to [N, P, 3].
        """
        if bool(self.has_feature.any()):
            mean = self.features[self.has_feature].mean(dim=0, keepdim=True)
            shape = decode(mean)[0]
            self.positions += shape - self.origin
            self.origin.copy_(shape)
        self.settle_parts()

    @torch.no_grad()
    def vote(self, votes: Float[Tensor, "P V"]) -> None:
        """Add this step's votes for each vertex's part; every rank must call it with its own."""
        total = collectives.global_sum(votes.double())
        if self.part_mirror:
            # The template is symmetric, so its sides vote for each other, left parts for right ones.
            total = total + total[list(self.part_mirror)][:, self.mirror_vertex]
        self.votes += total

    @torch.no_grad()
    def settle_parts(self) -> None:
        """Turn votes into probabilities; older votes are halved each time, as cameras improve."""
        total = self.votes.sum(dim=0)
        voted = total > 0
        self.parts[:, voted] = (self.votes[:, voted] / total[voted]).to(self.parts.dtype)
        self.votes *= 0.5

    @property
    def has_parts(self) -> bool:
        """Whether parts have been settled at least once."""
        return bool(self.parts.any())

    def vertex_parts(self) -> Bool[Tensor, "Q V"]:
        """The most probable part of each vertex as a mask, without the background: Q = P - 1."""
        likeliest = self.parts[1:].argmax(dim=0)
        index = torch.arange(len(self.parts) - 1, device=likeliest.device)
        return (likeliest[None] == index[:, None]) & (self.parts[1:].sum(dim=0) > 0)

    def vertex_probabilities(self) -> Float[Tensor, "1 V Q"]:
        """V_seg of equation 14: each vertex's probability of every part, without the background."""
        share = self.parts[1:] / self.parts[1:].sum(dim=0).clamp(min=1e-6)
        return share.mT[None]
