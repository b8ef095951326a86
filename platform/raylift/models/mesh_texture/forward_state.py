"""One training batch as the terms see it: decoder outputs, camera scores and rendered images.

An image has K hypotheses of its camera. Silhouettes are rendered by all of them, textured pictures by P
(``config.camera``'s ``pictures``), and labels of the texture flow by one, the main one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from raylift.core.collectives import global_count
from raylift.core.generators import keyed_uniforms
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.cameras import project
from raylift.losses.cameras import combined_scores, expected_over_hypotheses, hypothesis_probabilities
from raylift.losses.flow_alignment import FaceCentroids, face_centroids, side_seen_more
from raylift.losses.silhouette import silhouette_distance_loss, silhouette_iou_loss
from raylift.losses.texture_flow import masked_mean, reconstruction_loss
from raylift.losses.unseen_texture import seen_faces
from raylift.models.mesh_texture.config import MeshTextureConfig
from raylift.models.mesh_texture.network import Decoded, MeshTextureNetwork, pick
from raylift.models.mesh_texture.renderer import constant, on_screen
from raylift.networks.feature_extractors import Frozen
from raylift.rendering.soft_view import SoftView


@dataclass
class ForwardState:
    """A batch with the network's outputs; everything is rendered on first use, once.

    Attributes:
        network: network that decodes it.
        batch: this rank's part of the global batch.
        step_info: seed, step and progress of the step.
        perceptual: LPIPS; None if its weight is 0.
    """

    network: MeshTextureNetwork
    batch: Batch
    step_info: StepInfo
    perceptual: Frozen | None = None

    @property
    def config(self) -> MeshTextureConfig:
        return self.network.config

    @cached_property
    def decoded(self) -> Decoded:
        decoded = self.network.decode(self.batch)
        if self.network.multiplex is not None and self.network.training:
            self._move_evenly(decoded.cameras)
        if self.step_info.epoch >= self.config.terms.shape_from:
            return decoded
        # Only cameras are trained, with the template; the shape keeps a zero gradient, which every rank's step expects.
        template = self.network.template.vertices.detach()
        return replace(decoded, vertices=template + 0 * decoded.vertices)

    def _move_evenly(self, cameras: CameraHypotheses) -> None:
        """Train each camera of a multiplex on its own error, however improbable it is (UCMR).

        Terms are expected over an image's K cameras, so a camera's gradient carries its probability. It is divided out
        and replaced by 1 / K; shapes and textures are still trained by the expectation.
        """

        def evened(gradient: Tensor) -> Tensor:
            share = self.probabilities * self.probabilities.shape[1]
            return gradient / share.clamp(min=1e-12).reshape(share.shape + (1,) * (gradient.dim() - 2))

        for numbers in (cameras.scale, cameras.translation, cameras.quaternion):
            if numbers.requires_grad:
                numbers.register_hook(evened)

    @property
    def image(self) -> Float[Tensor, "B 3 H W"]:
        return self.batch["image"]

    @property
    def mask(self) -> Float[Tensor, "B H W"]:
        return self.batch["mask"][:, 0]

    @cached_property
    def silhouettes(self) -> Float[Tensor, "B K H W"]:
        """Silhouettes of every image's K cameras."""
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
    def silhouette_errors(self) -> dict[str, Float[Tensor, "B K"]]:
        """Silhouette errors of nonzero weight, by the name of their weight."""
        weights, errors, seen = self.config.weights, {}, self.silhouettes
        if weights.mask:
            errors["mask"] = self.mask_errors
        if weights.mask_squares:
            errors["mask_squares"] = (seen - self.mask[:, None]).square().mean(dim=(2, 3))
        if weights.outside:
            distance = self.batch["mask_distance"].expand_as(seen)
            errors["outside"] = silhouette_distance_loss(seen, distance).mean(dim=(2, 3))
        return errors

    @cached_property
    def hypothesis_scores(self) -> Float[Tensor, "B K"]:
        """Error of each camera of a multiplex relative to its image's other cameras; constant.

        From silhouettes and, where all cameras are rendered with textures, from pictures, half each, as in UCMR.
        """
        weights = self.config.weights
        kinds = [self.silhouette_errors]
        shows = self.step_info.epoch >= self.config.terms.texture_from
        if self.config.camera.pictures == "all" and shows and self.picture_errors:
            kinds.append(
                {name: errors.unflatten(0, (len(self.batch), -1)) for name, errors in self.picture_errors.items()}
            )
        totals = [
            torch.stack([getattr(weights, name) * errors.detach() for name, errors in kind.items()]).sum(dim=0)
            for kind in kinds
        ]
        return combined_scores(*totals)

    @cached_property
    def probabilities(self) -> Float[Tensor, "B K"]:
        """Probabilities of every image's cameras: D_cam's, or, for a multiplex, from how well they fit."""
        if self.config.camera.kind == "multiplex":
            return hypothesis_probabilities(self.hypothesis_scores, self.config.camera.temperature)
        return self.decoded.cameras.probabilities

    @cached_property
    def best(self) -> Int[Tensor, "B"]:
        """Each image's most probable camera."""
        return self.probabilities.argmax(dim=1)

    @cached_property
    def taken(self) -> Int[Tensor, "B P"]:
        """The hypotheses that are rendered with textures."""
        kind, every = self.config.camera.pictures, self.decoded.num_hypotheses
        if kind == "all":
            return torch.arange(every, device=self.batch.keys.device).expand(len(self.batch), -1)
        if kind == "drawn":
            draws = keyed_uniforms(self.batch.keys, self.step_info.seed, self.step_info.step, "hypothesis")
            below = self.probabilities.detach().cumsum(dim=1) < draws[:, None].to(self.probabilities)
            return below.sum(dim=1, keepdim=True).clamp(max=every - 1)
        return self.best[:, None]

    @cached_property
    def counts(self) -> Float[Tensor, "B P"]:
        """Weight of each picture in an expectation over hypotheses, with the probabilities' gradient.

        A drawn hypothesis has weight 1; with the gradient of p_k / p_k the draw is an unbiased estimate of the whole
        sum.
        """
        if self.config.camera.pictures == "best":
            return torch.ones_like(self.taken, dtype=self.probabilities.dtype)
        chosen = self.probabilities.gather(1, self.taken)
        return chosen if self.config.camera.pictures == "all" else chosen / chosen.detach()

    @cached_property
    def main_picture(self) -> Int[Tensor, "B"]:
        """Index of the main camera's picture among an image's P pictures."""
        return self.best if self.config.camera.pictures == "all" else torch.zeros_like(self.taken[:, 0])

    @cached_property
    def main_hypothesis(self) -> Int[Tensor, "B"]:
        """The hypothesis of the labels: the most probable one, or the drawn one."""
        return self.taken.gather(1, self.main_picture[:, None])[:, 0]

    def expected(self, errors: Float[Tensor, "N"]) -> Float[Tensor, "B"]:
        """The expectation over hypotheses of an error of N = B x P pictures."""
        return expected_over_hypotheses(errors.unflatten(0, self.taken.shape), self.counts)

    def repeated(self, values: Float[Tensor, "B ..."]) -> Float[Tensor, "N ..."]:
        """Repeat values for each of N = B x P pictures."""
        number = self.taken.shape[1]
        return values if number == 1 else values.repeat_interleave(number, dim=0)

    def of_main(self, values: Shaped[Tensor, "N ..."]) -> Shaped[Tensor, "B ..."]:
        """Select the main cameras' values among N = B x P."""
        number = self.taken.shape[1]
        if number == 1:
            return values
        return values[torch.arange(len(self.main_picture), device=values.device) * number + self.main_picture]

    @cached_property
    def camera(self) -> Camera:
        """Each image's main camera."""
        return pick(self.decoded.cameras, self.main_hypothesis)

    @cached_property
    def picture_cameras(self) -> Camera:
        """Cameras of N = B x P pictures, an image's consecutive."""
        return self.decoded.cameras.take(self.taken).cameras()

    @cached_property
    def texture(self) -> Float[Tensor, "B 3 Ht Wt"]:
        """I_uv."""
        return self.network.texture(self.image, self.decoded)

    @cached_property
    def view(self) -> SoftView:
        """V_pred by ``picture_cameras``: rasterised once for all textures."""
        return self.network.renderer.view(self.decoded.vertices, self.picture_cameras)

    @cached_property
    def picture(self) -> Float[Tensor, "N 3 H W"]:
        """F_r(V_pred, Tex, cam) for N = B x P cameras."""
        return self.paint(self.texture)

    @cached_property
    def picture_errors(self) -> dict[str, Float[Tensor, "N"]]:
        """Picture errors of nonzero weight, by the name of their weight."""
        # The nearest face hides the others, so the picture shows T_seen alone: equations 10 and 35 are the same number.
        weights, errors = self.config.weights, {}
        if weights.reconstruction:
            errors["reconstruction"] = self.over_mask(reconstruction_loss(self.picture, self.repeated(self.image)))
        if self.perceptual is not None:
            errors["perceptual"] = self.perceptual(self.picture, self.repeated(self.image))
        return errors

    def over_mask(self, errors: Float[Tensor, "N H W"]) -> Float[Tensor, "N"]:
        """Mean over each image's mask of the errors of N = B x P pictures."""
        return masked_mean(errors, self.repeated(self.mask))

    @cached_property
    def painted_view(self) -> SoftView:
        """``view`` with the gradients that texture terms may use."""
        wanted = self.config.texture
        if wanted.moves_shape and wanted.moves_camera:
            return self.view
        vertices = self.decoded.vertices if wanted.moves_shape else self.decoded.vertices.detach()
        cameras = self.picture_cameras if wanted.moves_camera else constant(self.picture_cameras)
        return self.view.along(on_screen(vertices, cameras))

    def paint(self, texture: Float[Tensor, "B 3 Ht Wt"]) -> Float[Tensor, "N 3 H W"]:
        """Render the shapes with these textures, by ``picture_cameras``, with the gradients of ``painted_view``."""
        return self.network.renderer.textured(self.painted_view, texture)

    @cached_property
    def centroids(self) -> FaceCentroids:
        """Where each face is visible: the pseudo-label of equation 12, constant.

        Only the nearest face of a pixel is visible there. Of two faces that share texels, the more visible one counts.
        """
        template = self.network.template
        weight, moment = self.painted_view.face_sums(nearest_faces=1)
        seen = face_centroids(self.of_main(weight.detach()), self.of_main(moment.detach()))
        return side_seen_more(seen, template.mirror_face) if self.config.texture.symmetric else seen

    @cached_property
    def texel_places(self) -> Float[Tensor, "B T 2"]:
        """Projection of each texel's surface point into the image, visible or hidden; constant."""
        network = self.network
        with torch.no_grad():
            corners = self.decoded.vertices[:, network.template.faces[network.texel_face.flatten()]]
            points = torch.einsum("tk,btkc->btc", network.texel_weights.flatten(0, 1).to(corners), corners)
            return project(self.camera, points)[0]

    def share_of_seen(self, errors: Float[Tensor, "B F"]) -> Float[Tensor, ""]:
        """This rank's share of the mean over all visible faces, each weighted by its visible fraction."""
        weight = self.centroids.weight
        return (errors * weight).sum() / global_count(weight.sum(), errors)

    def shown_vertices(self) -> Float[Tensor, "B V"]:
        """1 for the vertices of faces that are nearest at some pixel, by the main camera."""
        faces = self.network.template.faces
        seen = seen_faces(self.of_main(self.view.nearest_faces), len(faces)).float()
        vertices = seen.new_zeros(len(seen), self.network.template.num_vertices)
        for corner in range(3):
            vertices.index_add_(1, faces[:, corner], seen)
        return (vertices > 0).to(self.image.dtype)
