"""The model's conditioning that its baselines may use: silhouette, camera and, if given, depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from raylift.core.types import Batch, Camera, SampleRequest
from raylift.geometry.cameras import pixel_centers, project, unproject
from raylift.geometry.point_tree import PointTree

EMPTY_GAP = 0.1
"""Assumed distance in front of the surface where the depth map has no surface, world units."""


@dataclass(frozen=True)
class Told:
    """A model's conditioning in addition to the image, its silhouette and its camera.

    Attributes:
        depth: whether it includes a depth map, or visible points computed from one.
        grid: source of the true shape's grid, if included.
        image_px: image side in pixels.
    """

    depth: bool
    grid: Literal["", "gt_occupancy", "gt_sdf"]
    image_px: int

    @staticmethod
    def of(request: SampleRequest) -> Told:
        source = "" if request.voxels is None else request.voxels.source
        grid: Literal["", "gt_occupancy", "gt_sdf"] = ""
        if source == "gt_occupancy" or source == "gt_sdf":
            grid = source
        return Told(request.depth or source == "visible", grid, request.image_px)


@dataclass(frozen=True)
class VisibleEvidence:
    """One view.

    Attributes:
        image: RGB in [0, 1] on white.
        mask: coverage in [0, 1].
        depth: z in world units, 0 where missing; None if the model is not conditioned on it.
        camera: B = 1.
    """

    image: Float[Tensor, "3 H W"]
    mask: Float[Tensor, "1 H W"]
    depth: Float[Tensor, "1 H W"] | None
    camera: Camera

    @staticmethod
    def of(picture: Batch, with_depth: bool) -> VisibleEvidence | None:
        """The evidence in a sample as the model saw it (B = 1); None if its camera is unknown."""
        if picture.camera is None:
            return None
        depth = picture["depth"][0].float().cpu() if with_depth else None
        image, mask = picture["image"][0].float().cpu(), picture["mask"][0].float().cpu()
        return VisibleEvidence(image, mask, depth, picture.camera.to("cpu"))

    def outside_silhouette(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
        """0.5 minus the coverage where each point projects: below 0 within the silhouette."""
        uv, _ = project(self.camera, points[None])
        covered = functional.grid_sample(self.mask[None], uv[:, :, None], padding_mode="zeros", align_corners=False)
        return 0.5 - covered[0, 0, :, 0]

    def gap(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
        """Distance of each point in front of the surface at its pixel, along z: above 0 in free space.

        Depths are not interpolated, since object edges are discontinuities.
        """
        assert self.depth is not None
        uv, z = project(self.camera, points[None])
        seen = functional.grid_sample(
            self.depth[None], uv[:, :, None], mode="nearest", padding_mode="zeros", align_corners=False
        )[0, 0, :, 0]
        return torch.where(seen > 0, seen - z[0], EMPTY_GAP)

    def mirrored_gap(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
        """The gap of each point mirrored at the plane x = 0: many objects are symmetric."""
        return self.gap(points * torch.tensor([-1.0, 1.0, 1.0]))

    def pixel_colors(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """The colour of the pixel that each point projects to."""
        uv, _ = project(self.camera, points[None])
        colors = functional.grid_sample(self.image[None], uv[:, :, None], padding_mode="border", align_corners=False)
        return colors[0, :, :, 0].T

    @cached_property
    def visible_points(self) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P 3"]]:
        """World points of all pixels with depth, and their colours."""
        assert self.depth is not None
        depth = self.depth[0]
        seen: Bool[Tensor, "H W"] = (depth > 0) & (self.mask[0] > 0)
        uv = pixel_centers(*depth.shape)[seen]
        points = unproject(self.camera, uv[None], depth[seen][None])[0]
        return points.numpy(), self.image[:, seen].T.numpy()

    @cached_property
    def _tree(self) -> PointTree:
        return PointTree(self.visible_points[0])

    def nearest_colors(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """The colour of the nearest visible point; white if no point is visible."""
        if not len(self.visible_points[0]):
            return torch.ones(len(points), 3)
        return torch.from_numpy(self.visible_points[1][self._tree.nearest(points.numpy())[1]])

    @cached_property
    def mean_color(self) -> Float[Tensor, "3"]:
        """The mean colour within the silhouette."""
        weights = self.mask / self.mask.sum().clamp(min=1e-6)
        return ((self.image * weights).sum(dim=(1, 2)) + (1 - weights.sum())).clamp(0, 1)
