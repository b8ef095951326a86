"""Triton kernels of the ray-marcher: one program per block of rays, one step per sample.

They do what ``march_kernels`` and ``march_gradient_kernels`` do, with the march written to memory [N, R] so that the
backward pass can run through it from behind. Gradients by cells are added atomically, in no fixed order.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

UNREAD = tl.constexpr(-1.0)
"""Read weight of a record whose features are not read."""
NO_RECORD = tl.constexpr(-2.0)
"""Read weight of a sample that stops no light."""
ENDED = tl.constexpr(-3.0)
"""Read weight of a sample beyond the end of the march."""


@triton.jit
def _place(rays, r, mask, at):
    """Cell before sample ``at`` (i, j, k) and fractions (fx, fy, fz), for rays that stay inside."""
    row = rays + r * 9
    x = tl.load(row, mask, 1.0) + at * tl.load(row + 3, mask, 0.0)
    y = tl.load(row + 1, mask, 1.0) + at * tl.load(row + 4, mask, 0.0)
    z = tl.load(row + 2, mask, 1.0) + at * tl.load(row + 5, mask, 0.0)
    i, j, k = x.to(tl.int32), y.to(tl.int32), z.to(tl.int32)
    return i, j, k, x - i, y - j, z - k


@triton.jit
def _inside(rays, r, mask, last, nx, ny, nz):
    """Whether rays hit the box and both of their ends are in the padded volume."""
    row = rays + r * 9
    inside = mask & (tl.load(row + 6, mask, 0.0) > 0)
    for axis in tl.static_range(3):
        size = nx if axis == 0 else (ny if axis == 1 else nz)
        begin = tl.load(row + axis, mask, 0.0)
        far = begin + last * tl.load(row + 3 + axis, mask, 0.0)
        inside = inside & (begin > 0.25) & (begin < size - 1.25) & (far > 0.25) & (far < size - 1.25)
    return inside


@triton.jit
def _blend(a, b, c, d, e, f, g, h, fx, fy, fz):
    """Trilinear value of eight corners and its slopes by (fx, fy, fz)."""
    gx, gy, gz = 1 - fx, 1 - fy, 1 - fz
    ab, cd, ef, gh = gz * a + fz * b, gz * c + fz * d, gz * e + fz * f, gz * g + fz * h
    low, high = gy * ab + fy * cd, gy * ef + fy * gh
    by_z = gx * (gy * (b - a) + fy * (d - c)) + fx * (gy * (f - e) + fy * (h - g))
    return gx * low + fx * high, high - low, gx * (cd - ab) + fx * (gh - ef), by_z


@triton.jit
def _read(cells, at, ny, nz, mask, fx, fy, fz):
    """Density and its slopes."""
    x, y = ny * nz, nz
    a, b = tl.load(cells + at, mask, 0.0), tl.load(cells + at + 1, mask, 0.0)
    c, d = tl.load(cells + at + y, mask, 0.0), tl.load(cells + at + y + 1, mask, 0.0)
    e, f = tl.load(cells + at + x, mask, 0.0), tl.load(cells + at + x + 1, mask, 0.0)
    g, h = tl.load(cells + at + x + y, mask, 0.0), tl.load(cells + at + x + y + 1, mask, 0.0)
    return _blend(a, b, c, d, e, f, g, h, fx, fy, fz)


@triton.jit
def _corner(corner: tl.constexpr, ny, nz, fx, fy, fz):
    """Offset and trilinear weight of one of eight corners, z changing fastest."""
    offset = (corner // 4) * ny * nz + (corner // 2 % 2) * nz + corner % 2
    weight = (fx if corner // 4 else 1 - fx) * (fy if corner // 2 % 2 else 1 - fy) * (fz if corner % 2 else 1 - fz)
    return offset, weight


@triton.jit
def march(
    rays, owner, density, opacity, light, read_weight, last_record, alpha, depth,
    num_rays, num_samples, nx, ny, nz, limit, min_weight, stop,
    OCCUPANCY: tl.constexpr, SKIPS: tl.constexpr, STOPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write opacity, light before it and read weight of all samples [N, R], the last record, alpha and depth [R]."""
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = r < num_rays
    alive = _inside(rays, r, mask, num_samples - 1, nx, ny, nz)
    spacing = tl.load(rays + r * 9 + 6, mask, 0.0)
    z0, dz = tl.load(rays + r * 9 + 7, mask, 0.0), tl.load(rays + r * 9 + 8, mask, 0.0)
    first = tl.load(owner + r, mask, 0) * nx * ny * nz
    nothing = spacing * 0
    passed, pending, covered, far = nothing + 1, nothing, nothing, nothing
    last = tl.zeros([BLOCK], tl.int32) + num_samples // 2
    at = 0
    while (at < num_samples) & (tl.max(alive.to(tl.int32), 0) > 0):
        i, j, k, fx, fy, fz = _place(rays, r, alive, at)
        value, _, _, _ = _read(density, first + (i * ny + j) * nz + k, ny, nz, alive, fx, fy, fz)
        lit = alive
        if SKIPS:
            lit = alive & (value > limit)
        stopped = tl.minimum(value, 1.0) if OCCUPANCY else 1 - tl.exp(-value * spacing)
        stopped = tl.where(lit, stopped, 0.0)
        weight = passed * stopped
        pending += weight
        read = lit & (pending >= min_weight)
        here = at * num_rays + r
        tl.store(opacity + here, stopped, alive)
        tl.store(light + here, passed, alive)
        tl.store(read_weight + here, tl.where(read, pending, tl.where(lit, UNREAD, NO_RECORD)), alive)
        pending = tl.where(read, 0.0, pending)
        last = tl.where(lit, at, last)
        covered += weight
        far += weight * (z0 + at * dz)
        passed *= 1 - stopped
        if STOPS:
            alive = alive & (passed > stop)
        at += 1
    tl.store(read_weight + last * num_rays + r, pending, mask & (pending > 0))
    tl.store(last_record + r, last, mask)
    tl.store(alpha + r, covered, mask)
    tl.store(depth + r, far, mask)


@triton.jit
def gather(
    rays, owner, features, read_weight, seen,
    num_rays, num_samples, nx, ny, nz, channels,
    LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """seen [R, C] = sum over samples of read weight * features."""
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lane = tl.arange(0, LANES)[None]
    mask = r < num_rays
    first = tl.load(owner + r, mask, 0) * nx * ny * nz
    total = (tl.load(rays + r * 9, mask, 0.0) * 0)[:, None] + tl.zeros([BLOCK, LANES], rays.dtype.element_ty)
    for at in range(num_samples):
        weight = tl.load(read_weight + at * num_rays + r, mask, ENDED)
        read = mask & (weight > 0)
        if tl.max(read.to(tl.int32), 0) > 0:
            i, j, k, fx, fy, fz = _place(rays, r, read, at)
            cell = first + (i * ny + j) * nz + k
            for corner in tl.static_range(8):
                offset, share = _corner(corner, ny, nz, fx, fy, fz)
                row = features + (cell + offset)[:, None] * channels + lane
                values = tl.load(row, read[:, None] & (lane < channels), 0.0)
                total += tl.where(read, weight * share, 0.0)[:, None] * values
    tl.store(seen + r[:, None] * channels + lane, total, mask[:, None] & (lane < channels))


@triton.jit
def _products(features, cell, ny, nz, channels, pull, lane, mask, fx, fy, fz):
    """Trilinear value, and slopes, of the products of ``pull`` [R, C] with the features of the corners."""
    wide = mask[:, None] & (lane < channels)
    x, y = ny * nz, nz
    row = features + cell[:, None] * channels + lane
    a = tl.sum(pull * tl.load(row, wide, 0.0), 1)
    b = tl.sum(pull * tl.load(row + channels, wide, 0.0), 1)
    c = tl.sum(pull * tl.load(row + y * channels, wide, 0.0), 1)
    d = tl.sum(pull * tl.load(row + (y + 1) * channels, wide, 0.0), 1)
    e = tl.sum(pull * tl.load(row + x * channels, wide, 0.0), 1)
    f = tl.sum(pull * tl.load(row + (x + 1) * channels, wide, 0.0), 1)
    g = tl.sum(pull * tl.load(row + (x + y) * channels, wide, 0.0), 1)
    h = tl.sum(pull * tl.load(row + (x + y + 1) * channels, wide, 0.0), 1)
    return _blend(a, b, c, d, e, f, g, h, fx, fy, fz)


@triton.jit
def backward(
    rays, owner, density, features, opacity, light, read_weight, last_record,
    by_seen, by_alpha, by_far, by_density, by_features, by_rays,
    num_rays, num_samples, nx, ny, nz, channels,
    OCCUPANCY: tl.constexpr, WITH_FEATURES: tl.constexpr, LANES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the gradients of a block of rays: see ``march_gradient_kernels``."""
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    lane = tl.arange(0, LANES)[None]
    mask = r < num_rays
    inside = _inside(rays, r, mask, num_samples - 1, nx, ny, nz)
    spacing = tl.load(rays + r * 9 + 6, mask, 0.0)
    z0, dz = tl.load(rays + r * 9 + 7, mask, 0.0), tl.load(rays + r * 9 + 8, mask, 0.0)
    first = tl.load(owner + r, mask, 0) * nx * ny * nz
    pull = tl.load(by_seen + r[:, None] * channels + lane, mask[:, None] & (lane < channels), 0.0)
    pull_alpha, pull_far = tl.load(by_alpha + r, mask, 0.0), tl.load(by_far + r, mask, 0.0)
    last = tl.load(last_record + r, mask, 0)
    i, j, k, fx, fy, fz = _place(rays, r, inside, last)
    cell = first + (i * ny + j) * nz + k
    color_pull, _, _, _ = _products(features, cell, ny, nz, channels, pull, lane, inside, fx, fy, fz)
    zero = spacing * 0
    tail, by_spacing, by_z, by_dz = zero, zero, zero, zero
    sx, sy, sz, ix, iy, iz = zero, zero, zero, zero, zero, zero
    for step in range(num_samples):
        at = num_samples - 1 - step
        weight = tl.load(read_weight + at * num_rays + r, inside, ENDED)
        alive = inside & (weight > (ENDED + NO_RECORD) / 2)
        if tl.max(alive.to(tl.int32), 0) > 0:
            stopped = tl.load(opacity + at * num_rays + r, alive, 0.0)
            passed = tl.load(light + at * num_rays + r, alive, 0.0)
            i, j, k, fx, fy, fz = _place(rays, r, alive, at)
            cell = first + (i * ny + j) * nz + k
            read = alive & (weight >= 0)
            value, gx, gy, gz = _products(features, cell, ny, nz, channels, pull, lane, read, fx, fy, fz)
            color_pull = tl.where(read, value, color_pull)
            read_as = tl.where(read, weight, 0.0)
            pulled_by = pull_alpha + pull_far * (z0 + at * dz) + color_pull
            pulled = passed * (pulled_by - tail)
            tail = tl.where(alive, stopped * pulled_by + (1 - stopped) * tail, tail)
            by_cell = pulled
            if not OCCUPANCY:
                pulled *= 1 - stopped
                by_cell = pulled * spacing
            for corner in tl.static_range(8):
                offset, share = _corner(corner, ny, nz, fx, fy, fz)
                tl.atomic_add(by_density + cell + offset, by_cell * share, alive)
                if WITH_FEATURES:
                    row = by_features + (cell + offset)[:, None] * channels + lane
                    tl.atomic_add(row, (read_as * share)[:, None] * pull, read[:, None] & (lane < channels))
            dense, hx, hy, hz = _read(density, cell, ny, nz, alive, fx, fy, fz)
            lit = alive & (weight > (NO_RECORD + UNREAD) / 2)
            gx = tl.where(lit, read_as * gx + by_cell * hx, 0.0)
            gy = tl.where(lit, read_as * gy + by_cell * hy, 0.0)
            gz = tl.where(lit, read_as * gz + by_cell * hz, 0.0)
            sx, sy, sz = sx + gx, sy + gy, sz + gz
            ix, iy, iz = ix + at * gx, iy + at * gy, iz + at * gz
            if not OCCUPANCY:
                by_spacing += tl.where(lit, pulled * dense, 0.0)
            by_depth = tl.where(lit, passed * stopped * pull_far, 0.0)
            by_z += by_depth
            by_dz += at * by_depth
    row = by_rays + r * 9
    tl.store(row, sx, inside)
    tl.store(row + 1, sy, inside)
    tl.store(row + 2, sz, inside)
    tl.store(row + 3, ix, inside)
    tl.store(row + 4, iy, inside)
    tl.store(row + 5, iz, inside)
    tl.store(row + 6, by_spacing, inside)
    tl.store(row + 7, by_z, inside)
    tl.store(row + 8, by_dz, inside)
