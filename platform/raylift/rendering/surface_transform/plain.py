"""The transformation in plain torch: the reference of the kernels, and what runs where there are none.

It works in another way than they do: it lists candidates, finds (s, t) by Newton's method, and leaves gradients to
autograd.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core.device_copies import upload
from raylift.rendering.surface_transform.coverage import Coverage, Pairs
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments

NEWTON_STEPS = 8
LARGEST_RESIDUAL = 1e-9
"""Distance in the chart at which Newton's method has arrived. Points outside of a quad may have no (s, t) at all."""


def plain_pairs(fragments: UvFragments, texels: int, options: TransformOptions) -> Pairs:
    """The texels in each quad with (s, t) in [0, 1)^2, in the order of quads."""
    width = fragments.mask.shape[2]
    accepted = accepted_quads(fragments, options)
    corners = fragments.uv.detach().double().reshape(-1, 2)[_corners(accepted, width)]
    first = (corners.amin(dim=1) * texels - 0.5).ceil().long().clamp(min=0)
    end = (corners.amax(dim=1) * texels - 0.5).floor().long().clamp(max=texels - 1) + 1
    extent = (end - first).clamp(min=0)
    lengths = extent.prod(dim=1)
    owner = torch.repeat_interleave(torch.arange(len(accepted), device=lengths.device), lengths)
    rank = torch.arange(len(owner), device=owner.device) - (lengths.cumsum(0) - lengths)[owner]
    columns = extent[owner, 0]
    texel = first[owner] + torch.stack([rank % columns, rank // columns], dim=1)
    points = (texel.double() + 0.5) / texels
    place = inverse_bilinear_newton(corners[owner], points)
    found = (bilinear(corners[owner], place) - points).norm(dim=1) < LARGEST_RESIDUAL
    inside = found & ((place >= 0) & (place < 1)).all(dim=1)
    quad, texel = accepted[owner[inside]], texel[inside]
    image = quad // fragments.mask[0].numel()
    row = (image * texels + texel[:, 1]) * texels + texel[:, 0]
    return Pairs(quad, row, place[inside].to(fragments.uv.dtype))


def transform_plain(
    features: Float[Tensor, "B D P"], uv: Float[Tensor, "B P 2"], coverage: Coverage
) -> Float[Tensor, "B D R"]:
    """Gather corners, weigh them, and add to texels; autograd differentiates (s, t) through a last Newton step."""
    rows, uv = features.movedim(1, -1).flatten(0, 1), uv.flatten(0, 1)
    corners = _corners(coverage.quad, coverage.pixels[2])
    place = coverage.place.to(uv.dtype)
    center = bilinear(uv.detach()[corners], place)
    weights = bilinear_weights(place + newton_step(uv[corners], place, center))
    values = (weights[..., None] * rows[corners]).sum(dim=1)
    total = rows.new_zeros(len(coverage.row_start) - 1, rows.shape[1]).index_add(0, coverage.row, values)
    mean = total / coverage.row_start.diff().clamp(min=1)[:, None]
    return mean.reshape(len(features), coverage.rows_per_image, -1).movedim(-1, 1)


def accepted_quads(fragments: UvFragments, options: TransformOptions) -> Int[Tensor, "Q"]:
    """Upper left pixels of the quads that keep every rule, ascending."""
    batch, height, width = fragments.mask.shape
    quads = torch.arange(batch * height * width, device=fragments.mask.device).reshape(batch, height, width)
    corners = _corners(quads[:, :-1, :-1].flatten(), width)
    uv = fragments.uv.detach().double().reshape(-1, 2)[corners]
    depth = fragments.depth.detach().double().flatten()[corners]
    whole = fragments.mask.flatten()[corners].all(dim=1)
    short = ((uv.amax(dim=1) - uv.amin(dim=1)) <= options.max_side).all(dim=1)
    flat = depth.amax(dim=1) - depth.amin(dim=1) <= options.max_depth_step
    kept = whole & short & flat & _is_convex(uv)
    if options.chart == "octahedral":
        kept &= ~_crosses_seam(uv)
    return corners[kept, 0]


def inverse_bilinear_newton(corners: Float[Tensor, "E 4 2"], points: Float[Tensor, "E 2"]) -> Float[Tensor, "E 2"]:
    """(s, t) with X(s, t) = point, by Newton's method from the quad's middle."""
    place = torch.full_like(points, 0.5)
    for _ in range(NEWTON_STEPS):
        place = place + newton_step(corners, place, points)
    return place


def newton_step(corners: Float[Tensor, "E 4 2"], place: Float[Tensor, "E 2"], points: Tensor) -> Float[Tensor, "E 2"]:
    """J^-1 (point - X(s, t)), with J a constant: at a solution its derivative by the corners is that of (s, t)."""
    a, b, c, d = corners.detach().unbind(dim=1)
    s, t = place[:, :1], place[:, 1:]
    by_s, by_t = (1 - t) * (b - a) + t * (c - d), (1 - s) * (d - a) + s * (c - b)
    gap = points - bilinear(corners, place)
    solved = torch.stack([_cross(gap, by_t), _cross(by_s, gap)], dim=1)
    return solved / _cross(by_s, by_t)[:, None]


def bilinear(corners: Float[Tensor, "E 4 2"], place: Float[Tensor, "E 2"]) -> Float[Tensor, "E 2"]:
    """X(s, t)."""
    return (bilinear_weights(place)[..., None] * corners).sum(dim=1)


def bilinear_weights(place: Float[Tensor, "E 2"]) -> Float[Tensor, "E 4"]:
    """Weights of a, b, c and d."""
    s, t = place.unbind(dim=1)
    return torch.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], dim=1)


def _corners(quads: Int[Tensor, "E"], width: int) -> Int[Tensor, "E 4"]:
    """Pixels of a, b, c and d."""
    return quads[:, None] + upload(torch.tensor([0, 1, width + 1, width]), quads.device)


def _cross(one: Float[Tensor, "*E 2"], other: Float[Tensor, "*E 2"]) -> Float[Tensor, "*E"]:
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _is_convex(corners: Float[Tensor, "Q 4 2"]) -> Bool[Tensor, "Q"]:
    """Whether the outline turns the same way at all four corners."""
    along, onward = corners - corners.roll(1, dims=1), corners.roll(-1, dims=1) - corners
    turns = _cross(along, onward)
    return (turns > 0).all(dim=1) | (turns < 0).all(dim=1)


def _crosses_seam(corners: Float[Tensor, "Q 4 2"]) -> Bool[Tensor, "Q"]:
    """Whether corners are in two of the octahedral chart's outer triangles."""
    outer = (2 * corners - 1).abs().sum(dim=2) > 1
    right, top = corners[..., 0] > 0.5, corners[..., 1] > 0.5
    triangle = torch.where(outer, 1 + right.long() + 2 * top.long(), 0)
    lowest = torch.where(outer, triangle, 5).amin(dim=1)
    return (triangle.amax(dim=1) != lowest) & outer.any(dim=1)
