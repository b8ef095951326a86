"""The Fréchet distance of two sets of features as a loss (adaptive-gradient paper, equations 40-47).

Batches are smaller than features: the covariances are singular, and matrix square roots give no useful derivative of
the square root of their product. But only its trace is needed, and for covariances X'X and Y'Y (X, Y: centred features
over the root of their count) that trace is the sum of the singular values of X Y', which is only as large as the batch:
the nonzero eigenvalues of X'X Y'Y are those of (X Y')(X Y')'. Its derivative is U V' over the nonzero singular values.
For given covariances, it is the trace of the root of S1^1/2 S2 S1^1/2. ``frechet_moments`` has estimates over more than
one batch.

Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core import collectives
from raylift.core.errors import ConfigError

RELATIVE_RANK = 1e-7
"""Fraction of the largest singular value below which one counts as zero: centring always makes one zero."""


class Moments(NamedTuple):
    """Mean and covariance of features."""

    mean: Float[Tensor, "D"]
    covariance: Float[Tensor, "D D"]


def real_features(extract: Callable[[Tensor], Tensor], image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """f_real = F_icp(I_r), treated as constant (adaptive-gradient paper, equation 40)."""
    with torch.no_grad():
        return extract(image)


def rendered_features(extract: Callable[[Tensor], Tensor], rendered: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """f_rand = F_icp(I_rand), with its gradient (adaptive-gradient paper, equation 41)."""
    return extract(rendered)


def feature_mean(features: Float[Tensor, "N D"]) -> Float[Tensor, "D"]:
    """u = E[F_icp(x)] over the sample (adaptive-gradient paper, equations 44 and 45); float64."""
    return features.double().mean(dim=0)


def feature_covariance(features: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    """sigma = E[(x - u)(x - u)'] over the sample: divided by N (adaptive-gradient paper, equations 46-47); float64."""
    centered = _centered(features)
    return centered.mT @ centered


def mean_distance(first: Float[Tensor, "D"], second: Float[Tensor, "D"]) -> Float[Tensor, ""]:
    """||u_real - u_pred||^2 (adaptive-gradient paper, equation 42)."""
    return (first - second).square().sum()


def covariance_distance(first: Float[Tensor, "D D"], second: Float[Tensor, "D D"]) -> Float[Tensor, ""]:
    """Tr(s_real + s_pred - 2 sqrt(s_real s_pred)) (adaptive-gradient paper, equation 43).

    The product is not symmetric, but its eigenvalues do not depend on the order of its factors, nor does the trace.
    """
    return first.trace() + second.trace() - 2 * trace_sqrt_product(first, second)


def moments_distance(first: Moments, second: Moments) -> Float[Tensor, ""]:
    """L_fid of given moments (adaptive-gradient paper, equations 42 and 43)."""
    return mean_distance(first.mean, second.mean) + covariance_distance(first.covariance, second.covariance)


def frechet_distance(real: Float[Tensor, "N D"], rendered: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """L_fid of two sets of features (adaptive-gradient paper, equations 42-47); float64.

    Uses the smaller matrices: of the sets' sizes if they have fewer than D samples, else D x D.

    Args:
        real, rendered: features of the **whole** global batch: see ``frechet_share``.

    Raises:
        ConfigError: a set of fewer than 2.
    """
    if min(len(real), len(rendered)) < 2:
        raise ConfigError(
            f"no Fréchet distance of {len(real)} real and {len(rendered)} rendered images",
            "a covariance needs at least 2: raise the batch size",
        )
    if max(len(real), len(rendered)) > real.shape[1]:
        return moments_distance(
            Moments(feature_mean(real), feature_covariance(real)),
            Moments(feature_mean(rendered), feature_covariance(rendered)),
        )
    first, second = _centered(real), _centered(rendered)
    root = _nuclear_norm(first @ second.mT)
    spread = first.square().sum() + second.square().sum() - 2 * root
    return mean_distance(feature_mean(real), feature_mean(rendered)) + spread


def frechet_share(real: Float[Tensor, "N D"], rendered: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """This rank's share of L_fid over the global batch alone: every rank computes it and contributes an equal part.

    Args:
        real, rendered: this rank's features.

    Raises:
        ConfigError: a global batch of fewer than 2.
    """
    everyone_real, everyone_rendered = collectives.gather_rows(real), collectives.gather_rows(rendered)
    return frechet_distance(everyone_real, everyone_rendered) / collectives.world_size()


def trace_sqrt_product(first: Float[Tensor, "D D"], second: Float[Tensor, "D D"]) -> Float[Tensor, ""]:
    """Tr sqrt(S1 S2) of symmetric positive semidefinite matrices, of any rank; float64, differentiable once."""
    value: Tensor = _TraceSqrtProduct.apply(first.double(), second.double())
    return value


def trace_sqrt(matrix: Float[Tensor, "D D"]) -> Float[Tensor, ""]:
    """Tr sqrt(S) of a symmetric positive semidefinite matrix of any rank; float64, differentiable once."""
    value: Tensor = _TraceSqrt.apply(matrix.double())
    return value


def _centered(features: Tensor) -> Tensor:
    """Centred features over the root of their count: their Gram product is the covariance."""
    x = features.double()
    return (x - x.mean(dim=0)) / math.sqrt(len(x))


def _nuclear_norm(matrix: Tensor) -> Tensor:
    value: Tensor = _NuclearNorm.apply(matrix)
    return value


class _NuclearNorm(torch.autograd.Function):
    """The sum of singular values; its derivative U V' omits zeros, where a general SVD's divides by zero."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        keep = values > RELATIVE_RANK * values.max()
        ctx.save_for_backward((left * keep) @ right)
        total: Tensor = values.sum()
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        slopes: Tensor = gradient * slope
        return slopes


def _root(matrix: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """The symmetric root (or pseudo-inverse root) of a semidefinite matrix, and the roots of its eigenvalues."""
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    roots = values.clamp(min=0).sqrt()
    # Rounding leaves 1e-16 where an eigenvalue is zero; its root, 1e-8, would add up over thousands of features.
    kept = roots > RELATIVE_RANK * roots.max()
    roots = torch.where(kept, roots, torch.zeros_like(roots))
    scale = torch.where(kept, 1 / roots, roots) if inverse else roots
    return (vectors * scale) @ vectors.mT, roots


class _TraceSqrt(torch.autograd.Function):
    """d Tr S^1/2 / d S = S^-1/2 / 2 over the nonzero eigenvalues; both passes share one decomposition."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
        roots = values.clamp(min=0).sqrt()
        kept = roots > RELATIVE_RANK * roots.max()
        inverse = torch.where(kept, 1 / roots, torch.zeros_like(roots))
        ctx.save_for_backward((vectors * inverse) @ vectors.mT / 2)
        total: Tensor = (roots * kept).sum()
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        slopes: Tensor = gradient * slope
        return slopes


class _TraceSqrtProduct(torch.autograd.Function):
    """Uses R1 S2 R1 with R1 = S1^1/2: d Tr / d S2 = R1 (R1 S2 R1)^-1/2 R1 / 2, and with the roles swapped for S1."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        root, _ = _root(first)
        return _root(root @ second @ root)[1].sum()

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        slopes: list[Tensor | None] = [None, None]
        for index in range(2):
            if ctx.needs_input_grad[index]:
                own, other = ctx.saved_tensors[index], ctx.saved_tensors[1 - index]
                root, _ = _root(other)
                slopes[index] = gradient * 0.5 * root @ _root(root @ own @ root, inverse=True)[0] @ root
        return slopes[0], slopes[1]
