"""Rigid structure from keypoints: the 3D keypoints of a class, and the camera solved from an image's keypoints.

CMR takes its cameras and its mean shape from rigid structure from motion on annotated keypoints (Kanazawa et al. 2018,
section 2). Here: factorisation of weak-perspective measurements (Tomasi and Kanade 1992) with missing entries filled by
alternation, an upgrade to orthonormal cameras, then cameras and points refined by alternating least squares.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix

LEAST_VISIBLE = 4
"""Least number of keypoints that determine a camera."""
NUM_FILLINGS = 100
NUM_REFINEMENTS = 50
LONGEST_EDGE = 0.9
"""Longest edge of the keypoints' bounding box: an object extends slightly beyond its keypoints."""


def fit_weak_perspective(
    points: Float[Tensor, "B K 3"], keypoints: Float[Tensor, "B K 2"], weights: Float[Tensor, "B K"]
) -> WeakPerspective:
    """Fit weak-perspective cameras that project points to keypoints: the nearest to the best affine ones.

    Args:
        points: points in the world frame.
        keypoints: keypoints in normalised image coordinates.
        weights: weights of at least 0; fewer than four above 0 leave a camera undetermined (but finite).
    """
    share = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    middle = torch.einsum("bk,bkc->bc", share, points)
    center = torch.einsum("bk,bkc->bc", share, keypoints)
    spread, seen = points - middle[:, None], keypoints - center[:, None]
    normal = torch.einsum("bk,bkc,bkd->bcd", share, spread, spread)
    small = 1e-6 * normal.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-9)
    identity = torch.eye(3, dtype=points.dtype, device=points.device)
    cross = torch.einsum("bk,bkc,bkd->bcd", share, seen, spread)
    affine = torch.linalg.solve(normal + small[:, None, None] * identity, cross.mT).mT
    left, values, right = torch.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    scale = values.mean(dim=1).clamp(min=1e-6)
    shift = center - scale[:, None] * torch.einsum("bij,bj->bi", rows, middle)
    return WeakPerspective(scale, shift, matrix_to_quaternion(rotation))


def structure_from_keypoints(keypoints: Float[Tensor, "N K 3"], mirror: tuple[int, ...]) -> Float[Tensor, "K 3"]:
    """Solve the world positions of a class's keypoints: Y up, mirror plane x = 0, longest edge 0.9; float64.

    Orthographic images leave a reflection ambiguous; the one with cameras above, and rather in front, is chosen.

    Args:
        keypoints: (u, v, 1 where visible) of N images.
        mirror: mirror partner of each keypoint, or itself.

    Raises:
        DataError: fewer than 4 images with 4 visible keypoints each, or a keypoint that is visible in none of them.
    """
    points = keypoints.double()
    points = points[points[..., 2].sum(dim=1) >= LEAST_VISIBLE]
    visible = points[..., 2] > 0.5
    if len(points) < LEAST_VISIBLE or not bool(visible.any(dim=0).all()):
        raise DataError(
            f"{len(points)} images show {LEAST_VISIBLE} keypoints or more, and every keypoint must be in one of them",
            "annotate more images, or use a recipe that learns without keypoints",
        )
    structure = _upgraded(_completed(points[..., :2], visible))
    structure = _refined(structure, points[..., :2], visible)
    return _oriented(structure, points[..., :2], visible, mirror)


def _completed(seen: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Rank-3 factors (M [2N, 3], S [3, K]) of the centred measurements, with missing entries filled by alternation."""
    there = visible.repeat_interleave(2, dim=0)
    given = seen.mT.flatten(0, 1)  # rows: u and v of each image
    mean = (given * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    filled = torch.where(there, given, mean)
    motion, shape = filled.new_zeros(len(filled), 3), filled.new_zeros(3, filled.shape[1])
    for _ in range(NUM_FILLINGS):
        center = filled.mean(dim=1, keepdim=True)
        left, values, right = torch.linalg.svd(filled - center, full_matrices=False)
        root = values[:3].sqrt()
        motion, shape = left[:, :3] * root, root[:, None] * right[:3]
        filled = torch.where(there, given, center + motion @ shape)
    return motion, shape


def _upgraded(factors: tuple[Tensor, Tensor]) -> Tensor:
    """Points [K, 3] in a frame where the cameras' axes are orthogonal and of equal length."""
    motion, shape = factors
    first, second = motion[0::2], motion[1::2]

    def quadratic(a: Tensor, b: Tensor) -> Tensor:
        """Coefficients of a L b' in the six numbers of a symmetric L."""
        outer = a[:, :, None] * b[:, None]
        both = outer + outer.mT
        return torch.stack(
            [outer[:, 0, 0], outer[:, 1, 1], outer[:, 2, 2], both[:, 0, 1], both[:, 0, 2], both[:, 1, 2]], dim=1
        )

    constraints = torch.cat([quadratic(first, first) - quadratic(second, second), quadratic(first, second)])
    a, b, c, d, e, f = torch.linalg.svd(constraints)[2][-1]
    metric = torch.stack([torch.stack([a, d, e]), torch.stack([d, b, f]), torch.stack([e, f, c])])
    metric = metric * metric.trace().sign()
    values, vectors = torch.linalg.eigh(metric)
    # Noise may make the metric indefinite; the nearest definite one is used, and refined below.
    root = vectors * values.clamp(min=1e-3 * float(values.max())).sqrt()
    return torch.linalg.solve(root, shape).mT


def _refined(structure: Tensor, seen: Tensor, visible: Tensor) -> Tensor:
    """Refine cameras given points and points given cameras, alternately."""
    weights = visible.double()
    for _ in range(NUM_REFINEMENTS):
        camera = fit_weak_perspective(structure.expand(len(seen), -1, -1), seen, weights)
        rows = camera.scale[:, None, None] * quaternion_to_matrix(camera.quaternion)[:, :2]
        target = seen - camera.translation[:, None]
        normal = torch.einsum("nk,nic,nid->kcd", weights, rows, rows)
        normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype, device=normal.device)
        structure = torch.linalg.solve(normal, torch.einsum("nk,nic,nki->kc", weights, rows, target))
        structure = structure - structure.mean(dim=0)
        structure = structure / structure.square().sum(dim=1).mean().sqrt()
    return structure


def _upwards(rotations: Tensor, across: Tensor) -> Tensor:
    """The direction in the mirror plane that is upright in the images: the mirror axis is level in images."""
    plane = torch.linalg.svd(across[None])[2][1:]
    right, upright = rotations[:, 0] @ plane.mT, -rotations[:, 1].mean(dim=0) @ plane.mT
    # If all cameras are in front, no axis is level in this plane; then their mean defines up.
    tilt = right.mT @ right / len(right) - 1e-3 * torch.outer(upright, upright)
    up = torch.linalg.eigh(tilt)[1][:, 0]
    return (up * torch.where(up @ upright < 0, -1.0, 1.0)) @ plane


def _oriented(structure: Tensor, seen: Tensor, visible: Tensor, mirror: tuple[int, ...]) -> Tensor:
    """Rotate the structure to the world's axes."""
    partner = torch.tensor(mirror, device=structure.device)
    pairs = structure - structure[partner]
    # Without pairs, an object is assumed to be thinnest from side to side.
    across = (
        torch.linalg.svd(pairs)[2][0]
        if bool((pairs.norm(dim=1) > 1e-6).any())
        else (torch.linalg.svd(structure)[2][-1])
    )
    camera = fit_weak_perspective(structure.expand(len(seen), -1, -1), seen, visible.double())
    rotations = quaternion_to_matrix(camera.quaternion)
    up = _upwards(rotations, across)
    ahead = torch.linalg.cross(across, up)
    # Cameras look along their third axis; more of them are in front, and above.
    if float((rotations[:, 2] @ ahead).mean()) > 0:
        across, ahead = -across, -ahead
    placed = structure @ torch.stack([across, up, ahead], dim=1)
    if float((rotations[:, 2] @ up).mean()) > 0:
        placed = placed * placed.new_tensor([-1.0, 1.0, 1.0])
    low, high = placed.amin(dim=0), placed.amax(dim=0)
    return (placed - (low + high) / 2) * (LONGEST_EDGE / (high - low).amax())
