"""Regularisers of shapes: small deformation, smoothness, flatness (adaptive-gradient paper, equations 3-6).

Equation 5, the Laplacian vector itself, is ``geometry.laplacian.uniform_laplacian``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.geometry.laplacian import Adjacency, dihedral_cosines, uniform_laplacian


def deformation_loss(offsets: Float[Tensor, "*B V 3"]) -> Float[Tensor, "*B V"]:
    """Distance of each vertex from the template, ||delta V|| (adaptive-gradient paper, equation 3).

    Args:
        offsets: D_shape(F_e(I_r)), world units.

    Returns:
        Euclidean length per vertex, world units; its gradient at zero is zero.
    """
    magnitude: Tensor = torch.linalg.vector_norm(offsets, dim=-1)
    return magnitude


def laplacian_loss(vertices: Float[Tensor, "*B V 3"], mesh: Adjacency) -> Float[Tensor, "*B V"]:
    """The length of each vertex's Laplacian, ||delta_p||, whose sum is L_lap (adaptive-gradient paper, equation 4).

    Returns:
        World units; 0 if a vertex is at the mean of its neighbours.
    """
    magnitude: Tensor = torch.linalg.vector_norm(uniform_laplacian(vertices, mesh), dim=-1)
    return magnitude


def laplacian_square(vertices: Float[Tensor, "*B V 3"], mesh: Adjacency) -> Float[Tensor, "*B V"]:
    """Each vertex's squared Laplacian, ||delta_p||^2: the sum of SoftRas and UMR, for which UMR's weights are chosen.

    Unlike equation 4's length, its gradient fades with curvature, so a smooth shape may keep thin parts. On the sphere
    the sum is about 1/35 of the sum of lengths.

    Returns:
        Squared world units.
    """
    return uniform_laplacian(vertices, mesh).square().sum(dim=-1)


def flatness_loss(
    vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"], mesh: Adjacency
) -> Float[Tensor, "*B S"]:
    """|cos(nu) + 1| of the angle between the faces at each shared edge (adaptive-gradient paper, equation 6).

    nu is the angle between the two faces, 180 degrees if they are coplanar: only with it, and not with the angle
    between their normals, is the minimum reached on the plane, as the paper says.

    Returns:
        In [0, 2], dimensionless: 0 flat, 1 a right angle, 2 folded shut.
    """
    return (dihedral_cosines(vertices, faces, mesh) + 1).abs()


def flatness_square(
    vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"], mesh: Adjacency
) -> Float[Tensor, "*B S"]:
    """(cos(nu) + 1)^2 of the angle at each shared edge, as summed in SoftRas and UMR; see ``flatness_loss``.

    Returns:
        In [0, 4], dimensionless.
    """
    return (dihedral_cosines(vertices, faces, mesh) + 1).square()
