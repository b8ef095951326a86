"""What a photograph shows of a mesh: for points of the surface, their colour and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample

from raylift.core.errors import DataError
from raylift.core.types import Camera, Mesh
from raylift.geometry.cameras import camera_centers, project
from raylift.rendering.triangles import check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest

LEAST_DEPTH_PX = 256
"""Least side of the depth map that decides what is hidden."""


@dataclass(frozen=True)
class PhotoTrust:
    """Which pixels and points a photograph is trusted for; between the limits, weights rise smoothly.

    Attributes:
        border_px: distance in pixels from the background, and from steps in depth, within which no pixel counts: there
            colours are mixed, and a slightly wrong shape takes those of what is behind it.
        ramp_px: further distance over which the weight rises to 1.
        facing: cosines between a surface's normal and the direction to the camera of weight 0 and of weight 1.
        depth_step: difference in depth of neighbouring pixels that counts as a step, world units.
        mirror_slack: largest distance along the line of sight between a mirrored point and the surface, world units.
    """

    border_px: float = 1.0
    ramp_px: float = 2.0
    facing: tuple[float, float] = (0.15, 0.5)
    depth_step: float = 0.04
    mirror_slack: float = 0.03


@dataclass(frozen=True)
class PhotoView:
    """A photograph on a mesh.

    Attributes:
        camera: B = 1.
        premultiplied: RGB times trust, and trust, of each pixel.
        depth: nearest surface, z in world units; inf where the mesh is not seen.
        trust: limits of what counts.
    """

    camera: Camera
    premultiplied: Float[Tensor, "1 4 H W"]
    depth: Float[Tensor, "S S"]
    trust: PhotoTrust = field(default_factory=PhotoTrust)

    @staticmethod
    def of(
        mesh: Mesh,
        camera: Camera,
        image: Float[Tensor, "3 H W"],
        mask: Float[Tensor, "H W"],
        trust: PhotoTrust | None = None,
    ) -> PhotoView:
        """Render the mesh's depth, and weigh the pixels.

        Args:
            camera: the camera of the photograph, B = 1.
            image: RGB in [0, 1], square.
            mask: coverage in [0, 1].

        Raises:
            DataError: sizes that do not fit, an invalid mesh, or a mask without foreground.
        """
        trust, size = trust or PhotoTrust(), image.shape[-1]
        if len(camera) != 1 or image.shape[1] != size or mask.shape != image.shape[1:]:
            raise DataError(
                f"{len(camera)} cameras, an image of {tuple(image.shape)} and a mask of {tuple(mask.shape)} do not fit",
                "pass one camera, a square image and a mask of the same size",
            )
        solid = mask.detach().cpu().numpy() >= 0.99
        if not solid.any():
            raise DataError("the photograph's mask has no foreground", "check that the object is cut out")
        depth = _nearest_depth(mesh, camera, max(size, LEAST_DEPTH_PX))
        # Padded, so that the image's border counts as background: an object that leaves the image continues there.
        inner = distance_transform_edt(np.pad(solid, 1))[1:-1, 1:-1] - 0.5
        weights = torch.from_numpy(_ramp(inner, trust)) * _away_from_steps(depth, size, trust)
        pixels = torch.cat([image.detach().cpu().float() * weights, weights[None]])
        return PhotoView(camera.to("cpu", torch.float32), pixels[None], torch.from_numpy(depth), trust)

    def read(
        self, points: Float[Tensor, "N 3"], normals: Float[Tensor, "N 3"], on_surface: bool = True
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N"]]:
        """RGB and weight in [0, 1] of points; of weight 0 if they are hidden, turned away or outside of the mask.

        Args:
            points: world positions.
            normals: unit normals, outwards.
            on_surface: whether the points are on the mesh; others are hidden too if they are in front of it, by more
                than ``trust.mirror_slack``.
        """
        (uv,), (depth,) = project(self.camera, points[None])
        found = grid_sample(self.premultiplied, uv[None, None], align_corners=False)[0, :, 0].T
        color = found[:, :3] / found[:, 3:].clamp(min=1e-6)
        facing = self._facing(points, normals)
        low, high = self.trust.facing
        share = ((facing - low) / (high - low)).clamp(0, 1)
        seen = self._seen(uv, depth, facing, on_surface)
        return color.clamp(0, 1), found[:, 3].clamp(0, 1) * share * share * (3 - 2 * share) * seen

    def _facing(self, points: Tensor, normals: Tensor) -> Tensor:
        """Cosine of the angle between the normal and the direction to the camera."""
        if self.camera.projection == "perspective":
            towards = torch.nn.functional.normalize(camera_centers(self.camera) - points, dim=1)
        else:
            towards = -self.camera.rotation[:, 2]
        return (normals * towards).sum(1)

    def _seen(self, uv: Tensor, depth: Tensor, facing: Tensor, on_surface: bool) -> Tensor:
        side = len(self.depth)
        column, row = ((uv + 1) * (side / 2)).floor().long().clamp(0, side - 1).unbind(1)
        behind = depth - self.depth[row, column]
        # Within one pixel an oblique surface changes its depth by the pixel's size times the slope.
        distance = depth if self.camera.projection == "perspective" else torch.ones_like(depth)
        pixel = distance * (2 / (side * float(self.camera.focal[0].min())))
        cosine = facing.clamp(0.1, 1)
        slack = 0.002 + pixel * (1 + (1 - cosine * cosine).sqrt() / cosine)
        if on_surface:
            return (behind <= slack).float()
        return ((self.trust.mirror_slack + slack - behind.abs()) / self.trust.mirror_slack).clamp(0, 1)


def _nearest_depth(mesh: Mesh, camera: Camera, size: int) -> np.ndarray:
    vertices = mesh.vertices.detach().cpu().numpy().astype(np.float64)
    faces = mesh.faces.detach().cpu().numpy().astype(np.int32)
    check_mesh(vertices, faces)
    corners = project_triangles(vertices, faces, camera).corners
    depth, _ = fill_nearest(corners, size, camera.projection == "perspective", 0.0)
    return depth.astype(np.float32)


def _ramp(distance: np.ndarray, trust: PhotoTrust) -> np.ndarray:
    """Weight by the distance in pixels from what must not be read."""
    return ((distance - trust.border_px) / max(trust.ramp_px, 1e-6)).clip(0, 1).astype(np.float32)


def _away_from_steps(depth: np.ndarray, image_px: int, trust: PhotoTrust) -> Tensor:
    """Weights of the image's pixels by their distance from steps in depth, such as a leg in front of a seat."""
    far = np.where(np.isfinite(depth), depth, 1e3)
    step = np.zeros(depth.shape, bool)
    for axis in range(2):
        change = np.abs(np.diff(far, axis=axis)) > trust.depth_step
        step |= np.pad(change, [(0, 1) if axis == a else (0, 0) for a in range(2)])
        step |= np.pad(change, [(1, 0) if axis == a else (0, 0) for a in range(2)])
    if not step.any():
        return torch.ones(image_px, image_px)
    distance = distance_transform_edt(~step) * (image_px / len(depth))
    weights = torch.from_numpy(_ramp(distance, trust))
    return torch.nn.functional.interpolate(weights[None, None], image_px, mode="area")[0, 0]
