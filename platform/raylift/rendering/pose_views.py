"""One mesh from many poses, framed in the same way, and the error of each view on each image.

The K views serve all N images: N x K errors are a matrix product, so a step's renderings do not depend on N.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.geometry.framing import framed_points
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.rendering.soft_rasterize import rasterize_soft

DEPTH_OFFSET = 5.0
"""Added to depths, so that no vertex is behind an orthographic camera."""
LEAST_AREA = 1e-6


def framed_views(
    vertices: Float[Tensor, "S V 3"], quaternions: Float[Tensor, "K 4"], distance: Float[Tensor, "S"]
) -> Float[Tensor, "S*K V 3"]:
    """Each of S meshes from each of K poses, on the screen: (u, v, z), framed; a mesh's poses consecutive.

    Args:
        distance: distance of a perspective camera from the centre of the mesh's box, in its longest edges; 0 is
            orthographic.
    """
    low, high = vertices.detach().amin(dim=1, keepdim=True), vertices.detach().amax(dim=1, keepdim=True)
    centered = (vertices - (low + high) / 2) / (high - low).amax(dim=2, keepdim=True)
    turned = centered[:, None] @ quaternion_to_matrix(quaternions).mT
    far = distance[:, None, None, None].to(turned)
    # Dividing by 1 + z / distance is weak perspective where the distance is infinite.
    shrinking = torch.where(far > 0, 1 + turned[..., 2:] / torch.where(far > 0, far, 1.0), 1.0)
    uv = framed_points(turned[..., :2] / shrinking)
    return torch.cat([uv, turned[..., 2:] + DEPTH_OFFSET], dim=-1).flatten(0, 1)


def iou_errors(views: Float[Tensor, "K P"], masks: Float[Tensor, "N P"]) -> Float[Tensor, "N K"]:
    """1 - IoU of every view with every mask (equation 1's soft IoU); gradients reach the views."""
    shared = masks @ views.mT
    joined = masks.sum(dim=1, keepdim=True) + views.sum(dim=1) - shared
    return 1 - shared / joined.clamp(min=LEAST_AREA)


class Corners(NamedTuple):
    """The visible mesh corners at each pixel of each view.

    Attributes:
        vertex: three corners of the nearest face.
        weight: their barycentric weights; 0 where nothing is seen.
    """

    vertex: Int[Tensor, "K P 3"]
    weight: Float[Tensor, "K P 3"]


@torch.no_grad()
def seen_corners(screen: Float[Tensor, "K V 3"], faces: Int[Tensor, "F 3"], image_px: int) -> Corners:
    """The vertices that each pixel's colour is a mean of."""
    fragments = rasterize_soft(screen.detach(), faces, image_px, 1, 0.0, perspective=False)
    nearest = fragments.pix_to_face[..., 0].flatten(1)
    weight = fragments.bary_coords[..., 0, :].flatten(1, 2) * (nearest >= 0)[..., None]
    return Corners(faces[nearest.clamp(min=0)], weight)


@torch.no_grad()
def cue_sums(
    corners: Corners,
    probabilities: Float[Tensor, "N K"],
    cues: Float[Tensor, "N C P"],
    masks: Float[Tensor, "N P"],
    num_vertices: int,
) -> Float[Tensor, "V C+1"]:
    """Sums over images, views and pixels whose ratio is the best shared value of each vertex, and its weight (last).

    The means are those of a lumped least-squares problem: a pixel counts for its three corners by their weights.
    """
    flat = torch.cat([cues * masks[:, None], masks[:, None]], dim=1)
    # [K, C + 1, P]: what each view would see if each image were seen from it by its probability.
    expected = torch.einsum("nk,ncp->kcp", probabilities, flat)
    total = flat.new_zeros(num_vertices, flat.shape[1])
    spread = (expected.mT[:, :, None] * corners.weight[..., None]).flatten(0, 2)
    return total.index_add_(0, corners.vertex.flatten(), spread)


@torch.no_grad()
def painted_views(corners: Corners, values: Float[Tensor, "V C"]) -> Float[Tensor, "K C P"]:
    """Render values of vertices in the views; 0 where nothing is seen."""
    return (values[corners.vertex] * corners.weight[..., None]).sum(dim=2).mT


@torch.no_grad()
def cue_errors(
    painted: Float[Tensor, "K C P"], cues: Float[Tensor, "N C P"], masks: Float[Tensor, "N P"]
) -> Float[Tensor, "N K"]:
    """Mean squared difference of every view and every image over the image's mask and the channels."""
    weighted = (cues * masks[:, None]).flatten(1)
    ours = (weighted * cues.flatten(1)).sum(dim=1, keepdim=True)
    crossed = weighted @ painted.flatten(1).mT
    theirs = masks @ painted.square().sum(dim=1).mT
    return (ours - 2 * crossed + theirs).clamp(min=0) / (masks.sum(dim=1, keepdim=True) * cues.shape[1]).clamp(min=1)
