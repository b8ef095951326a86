"""One training batch as the terms see it: what was decoded, how well each camera fits, and the picture it takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.clock import Clock
from raylift.core.collectives import global_count
from raylift.core.types import Batch, Camera
from raylift.families.mesh_texture.config import MeshTextureConfig
from raylift.families.mesh_texture.model import Decoded, MeshTextureNetwork, pick
from raylift.families.mesh_texture.renderer import constant, on_screen
from raylift.geometry.cameras import project
from raylift.losses.cameras import hypothesis_probabilities
from raylift.losses.flow_alignment import FaceCentroids, face_centroids, side_seen_more
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.rendering.soft_view import SoftView


@dataclass
class Scene:
    """A batch with what the network makes of it; whatever is rendered is rendered when it is first asked for, once.

    Attributes:
        network: that decodes it.
        batch: this rank's part of the global batch.
        clock: of the step.
    """

    network: MeshTextureNetwork
    batch: Batch
    clock: Clock

    @property
    def config(self) -> MeshTextureConfig:
        return self.network.config

    @cached_property
    def decoded(self) -> Decoded:
        return self.network.decode(self.batch)

    @property
    def image(self) -> Float[Tensor, "B 3 H W"]:
        return self.batch["image"]

    @property
    def mask(self) -> Float[Tensor, "B H W"]:
        return self.batch["mask"][:, 0]

    @cached_property
    def silhouettes(self) -> Float[Tensor, "B K H W"]:
        """Of every image's K cameras."""
        decoded = self.decoded
        flat = self.network.renderer.silhouette(decoded.vertices, decoded.cameras.cameras())
        return flat.unflatten(0, (-1, decoded.num_hypotheses))

    @cached_property
    def mask_errors(self) -> Float[Tensor, "B K"]:
        """Equation 1 for every image and camera."""
        predicted = self.silhouettes.flatten(0, 1)
        truth = self.mask.repeat_interleave(self.decoded.num_hypotheses, dim=0)
        return silhouette_iou_loss(predicted, truth).unflatten(0, (-1, self.decoded.num_hypotheses))

    @cached_property
    def probabilities(self) -> Float[Tensor, "B K"]:
        """Of every image's cameras: D_cam's, or, of a multiplex, by how well they fit."""
        if self.config.camera.kind == "multiplex":
            return hypothesis_probabilities(self.mask_errors, self.config.camera.temperature)
        return self.decoded.cameras.probabilities

    @cached_property
    def best(self) -> Int[Tensor, "B"]:
        """The camera that pictures are taken by: each image's most probable one."""
        return self.probabilities.argmax(dim=1)

    @cached_property
    def camera(self) -> Camera:
        """Of each image."""
        return pick(self.decoded.cameras, self.best)

    @cached_property
    def texture(self) -> Float[Tensor, "B 3 Ht Wt"]:
        """I_uv."""
        return self.network.texture(self.image, self.decoded)

    @cached_property
    def view(self) -> SoftView:
        """V_pred by ``camera``: rasterised once, whatever is drawn on it."""
        return self.network.renderer.view(self.decoded.vertices, self.camera)

    @cached_property
    def picture(self) -> Float[Tensor, "B 3 H W"]:
        """F_r(V_pred, Tex, cam)."""
        return self.paint(self.texture)

    @cached_property
    def painted_view(self) -> SoftView:
        """``view`` with the gradients that pictures may have."""
        wanted = self.config.texture
        if wanted.moves_shape and wanted.moves_camera:
            return self.view
        vertices = self.decoded.vertices if wanted.moves_shape else self.decoded.vertices.detach()
        return self.view.along(on_screen(vertices, self.camera if wanted.moves_camera else constant(self.camera)))

    def paint(self, texture: Float[Tensor, "B 3 Ht Wt"]) -> Float[Tensor, "B 3 H W"]:
        """A picture of the shapes with these textures, by ``camera``; it trains what pictures may train."""
        return self.network.renderer.textured(self.painted_view, texture)

    @cached_property
    def centroids(self) -> FaceCentroids:
        """Where each face is seen: the pseudo-label of equation 12, constant.

        Only the nearest face of a pixel is seen there. Of two faces that share texels, the side that is seen more
        counts.
        """
        template = self.network.template
        weight, moment = self.painted_view.face_sums(num_layers=1)
        seen = face_centroids(weight.detach(), moment.detach())
        return side_seen_more(seen, template.mirror_face) if self.config.texture.symmetric else seen

    @cached_property
    def texel_places(self) -> Float[Tensor, "B T 2"]:
        """Where in the image each texel's point of the shape projects, seen or hidden; constant."""
        network = self.network
        with torch.no_grad():
            corners = self.decoded.vertices[:, network.template.faces[network.texel_face.flatten()]]
            points = torch.einsum("tk,btkc->btc", network.texel_weights.flatten(0, 1).to(corners), corners)
            return project(self.camera, points)[0]

    def share_of_seen(self, errors: Float[Tensor, "B F"]) -> Float[Tensor, ""]:
        """This rank's share of the mean over all faces that are seen, each counted by how much of it is seen."""
        weight = self.centroids.weight
        return (errors * weight).sum() / global_count(weight.sum(), errors)

    def shown_vertices(self) -> Float[Tensor, "B V"]:
        """1 for the vertices of faces that are nearest at some pixel."""
        faces = self.network.template.faces
        nearest = self.view.nearest_faces.flatten(1)
        shown = torch.zeros(len(nearest), len(faces) + 1, dtype=torch.bool, device=nearest.device)
        shown.scatter_(1, torch.where(nearest < 0, len(faces), nearest), True)
        vertices = torch.zeros(len(nearest), self.network.template.num_vertices, device=nearest.device)
        for corner in range(3):
            vertices.index_add_(1, faces[:, corner], shown[:, :-1].float())
        return (vertices > 0).to(self.image.dtype)
