"""Triton kernels of the transformation: what ``coverage_kernels`` and ``channel_kernels`` do, on a GPU.

Coverage has a program per block of quads, which walks through the texels of their boxes: once to count, once to write.
Channel passes have a program per texel, pair or pixel, and all channels as lanes. Nothing is added atomically, so all
sums have a fixed order. Coverage is computed in float64 and must not be fused into multiply-adds (the launches say so):
both quads at an edge need the same number for it.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _cross(ax, ay, bx, by):
    return ax * by - ay * bx


@triton.jit
def _triangle(u, v):
    """0 in the octahedral chart's inner diamond, 1 to 4 in the triangles at its corners."""
    outer = 1 + (u > 0.5).to(tl.int32) + 2 * (v > 0.5).to(tl.int32)
    return tl.where(tl.abs(2.0 * u - 1.0) + tl.abs(2.0 * v - 1.0) > 1.0, outer, 0)


@triton.jit
def _differ(one, other):
    return (one > 0) & (other > 0) & (one != other)


@triton.jit
def _corners(uv, a, width, mask):
    """u and v of a, b, c and d, in float64."""
    au, av = tl.load(uv + 2 * a, mask, 0.0), tl.load(uv + 2 * a + 1, mask, 0.0)
    bu, bv = tl.load(uv + 2 * a + 2, mask, 0.0), tl.load(uv + 2 * a + 3, mask, 0.0)
    c, d = a + width + 1, a + width
    cu, cv = tl.load(uv + 2 * c, mask, 0.0), tl.load(uv + 2 * c + 1, mask, 0.0)
    du, dv = tl.load(uv + 2 * d, mask, 0.0), tl.load(uv + 2 * d + 1, mask, 0.0)
    au, av, bu, bv = au.to(tl.float64), av.to(tl.float64), bu.to(tl.float64), bv.to(tl.float64)
    return au, av, bu, bv, cu.to(tl.float64), cv.to(tl.float64), du.to(tl.float64), dv.to(tl.float64)


@triton.jit
def _whole(seen, depth, a, width, mask, max_depth_step):
    """Whether all four pixels are on the object, at about one depth."""
    b, c, d = a + 1, a + width + 1, a + width
    whole = (tl.load(seen + a, mask, 0) > 0) & (tl.load(seen + b, mask, 0) > 0)
    whole = whole & (tl.load(seen + c, mask, 0) > 0) & (tl.load(seen + d, mask, 0) > 0)
    za, zb = tl.load(depth + a, mask, 0.0).to(tl.float64), tl.load(depth + b, mask, 0.0).to(tl.float64)
    zc, zd = tl.load(depth + c, mask, 0.0).to(tl.float64), tl.load(depth + d, mask, 0.0).to(tl.float64)
    high = tl.maximum(tl.maximum(za, zb), tl.maximum(zc, zd))
    low = tl.minimum(tl.minimum(za, zb), tl.minimum(zc, zd))
    return mask & whole & (high - low <= max_depth_step)


@triton.jit
def _orientation(au, av, bu, bv, cu, cv, du, dv):
    """1 or -1 for a strictly convex quad, 0 for any other."""
    ta = _cross(au - du, av - dv, bu - au, bv - av)
    tb = _cross(bu - au, bv - av, cu - bu, cv - bv)
    tc = _cross(cu - bu, cv - bv, du - cu, dv - cv)
    td = _cross(du - cu, dv - cv, au - du, av - dv)
    positive = (ta > 0) & (tb > 0) & (tc > 0) & (td > 0)
    negative = (ta < 0) & (tb < 0) & (tc < 0) & (td < 0)
    return tl.where(positive, 1.0, tl.where(negative, -1.0, 0.0)).to(tl.float64)


@triton.jit
def _texel_range(low, high, texels):
    first = tl.ceil(low * texels - 0.5 - 1e-6).to(tl.int32)
    last = tl.floor(high * texels - 0.5 + 1e-6).to(tl.int32)
    return tl.maximum(first, 0), tl.minimum(last, texels - 1) + 1


@triton.jit
def _place(au, av, bu, bv, cu, cv, du, dv, sign, x, y):
    """(s, t): see ``coverage_kernels.inverse_bilinear``."""
    ex, ey, fx, fy = bu - au, bv - av, du - au, dv - av
    gx, gy, hx, hy = cu - du - ex, cv - dv - ey, x - au, y - av
    constant = sign * _cross(hx, hy, ex, ey)
    linear = sign * (_cross(hx, hy, gx, gy) + _cross(ex, ey, fx, fy))
    square = sign * _cross(gx, gy, fx, fy)
    root = tl.sqrt(tl.maximum(linear * linear - 4.0 * square * constant, 0.0))
    steep = linear >= 0
    t = tl.where(steep, -2.0 * constant, root - linear) / tl.where(steep, linear + root, 2.0 * square)
    px, py = ex + gx * t, ey + gy * t
    s = ((hx - fx * t) * px + (hy - fy * t) * py) / (px * px + py * py)
    return tl.minimum(tl.maximum(s, 0.0), 1.0), tl.minimum(tl.maximum(t, 0.0), 1.0)


@triton.jit
def find_pairs(
    uv, seen, depth, starts, counts, quad, row, place,
    limits, num_pixels, height, width, texels,
    OCTAHEDRAL: tl.constexpr, WRITES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the texels that each quad owns, or write the pairs from each quad's start on.

    ``limits`` is a tensor of max_side and max_depth_step: numbers would be passed in float32.
    """
    a = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    image = a // (height * width)
    inner = (a < num_pixels) & (a % width < width - 1) & (a // width % height < height - 1)
    accepted = _whole(seen, depth, a, width, inner, tl.load(limits + 1))
    au, av, bu, bv, cu, cv, du, dv = _corners(uv, a, width, accepted)
    low_u, high_u = (
        tl.minimum(tl.minimum(au, bu), tl.minimum(cu, du)),
        tl.maximum(tl.maximum(au, bu), tl.maximum(cu, du)),
    )
    low_v, high_v = (
        tl.minimum(tl.minimum(av, bv), tl.minimum(cv, dv)),
        tl.maximum(tl.maximum(av, bv), tl.maximum(cv, dv)),
    )
    max_side = tl.load(limits)
    accepted = accepted & (high_u - low_u <= max_side) & (high_v - low_v <= max_side)
    if OCTAHEDRAL:
        ka, kb, kc, kd = _triangle(au, av), _triangle(bu, bv), _triangle(cu, cv), _triangle(du, dv)
        crosses = (
            _differ(ka, kb) | _differ(ka, kc) | _differ(ka, kd) | _differ(kb, kc) | _differ(kb, kd) | _differ(kc, kd)
        )
        accepted = accepted & (crosses == 0)
    sign = _orientation(au, av, bu, bv, cu, cv, du, dv)
    accepted = accepted & (sign != 0)
    first_column, end_column = _texel_range(low_u, high_u, texels)
    first_row, end_row = _texel_range(low_v, high_v, texels)
    columns = tl.maximum(end_column - first_column, 1)
    size = tl.where(accepted, (end_column - first_column) * tl.maximum(end_row - first_row, 0), 0)
    found = tl.zeros([BLOCK], tl.int64)
    step = 0
    while step < tl.max(size, 0):
        i, j = first_column + step % columns, first_row + step // columns
        x, y = (i.to(tl.float64) + 0.5) / texels, (j.to(tl.float64) + 0.5) / texels
        owned = step < size
        owned = owned & (sign * _cross(du - au, dv - av, x - au, y - av) <= 0)
        owned = owned & (sign * _cross(cu - bu, cv - bv, x - bu, y - bv) > 0)
        owned = owned & (sign * _cross(bu - au, bv - av, x - au, y - av) >= 0)
        owned = owned & (sign * _cross(cu - du, cv - dv, x - du, y - dv) < 0)
        if WRITES:
            at = tl.load(starts + a, owned, 0) + found
            s, t = _place(au, av, bu, bv, cu, cv, du, dv, sign, x, y)
            tl.store(quad + at, a.to(tl.int64), owned)
            tl.store(row + at, (image.to(tl.int64) * texels + j) * texels + i, owned)
            tl.store(place + 2 * at, s.to(place.dtype.element_ty), owned)
            tl.store(place + 2 * at + 1, t.to(place.dtype.element_ty), owned)
        found += owned.to(tl.int64)
        step += 1
    if not WRITES:
        tl.store(counts + a, found, a < num_pixels)


@triton.jit
def _weight(s, t, corner: tl.constexpr):
    """Bilinear weight of a, b, c or d."""
    across = s if corner == 1 or corner == 2 else 1 - s
    down = t if corner >= 2 else 1 - t
    return across * down


@triton.jit
def gather_rows(
    features, row_start, quad, place, out, width, channels, LANES: tl.constexpr
):  # fmt: skip
    """One row of ``out`` [R, D]: the mean over its quads of the corners' features [P, D]."""
    row = tl.program_id(0)
    lane = tl.arange(0, LANES)
    kept = lane < channels
    begin, end = tl.load(row_start + row), tl.load(row_start + row + 1)
    total = tl.zeros([LANES], features.dtype.element_ty)
    for pair in range(begin, end):
        s, t = tl.load(place + 2 * pair), tl.load(place + 2 * pair + 1)
        corner = features + tl.load(quad + pair) * channels + lane
        total += _weight(s, t, 0) * tl.load(corner, kept, 0.0)
        total += _weight(s, t, 1) * tl.load(corner + channels, kept, 0.0)
        total += _weight(s, t, 2) * tl.load(corner + (width + 1) * channels, kept, 0.0)
        total += _weight(s, t, 3) * tl.load(corner + width * channels, kept, 0.0)
    count = tl.maximum(end - begin, 1).to(features.dtype.element_ty)
    tl.store(out + row.to(tl.int64) * channels + lane, total / count, kept)


@triton.jit
def pull_pairs(
    features, uv, row_start, row, quad, place, by_out, pull, width, channels, LANES: tl.constexpr
):  # fmt: skip
    """z / n of one pair, z = J^-T (F_s . g, F_t . g)."""
    pair = tl.program_id(0)
    lane = tl.arange(0, LANES)
    kept = lane < channels
    texel, a = tl.load(row + pair), tl.load(quad + pair)
    g = tl.load(by_out + texel * channels + lane, kept, 0.0)
    corner = features + a * channels + lane
    ga = tl.sum(g * tl.load(corner, kept, 0.0), 0)
    gb = tl.sum(g * tl.load(corner + channels, kept, 0.0), 0)
    gc = tl.sum(g * tl.load(corner + (width + 1) * channels, kept, 0.0), 0)
    gd = tl.sum(g * tl.load(corner + width * channels, kept, 0.0), 0)
    s, t = tl.load(place + 2 * pair), tl.load(place + 2 * pair + 1)
    by_s, by_t = (1 - t) * (gb - ga) + t * (gc - gd), (1 - s) * (gd - ga) + s * (gc - gb)
    au, av, bu, bv = tl.load(uv + 2 * a), tl.load(uv + 2 * a + 1), tl.load(uv + 2 * a + 2), tl.load(uv + 2 * a + 3)
    c, d = a + width + 1, a + width
    cu, cv, du, dv = tl.load(uv + 2 * c), tl.load(uv + 2 * c + 1), tl.load(uv + 2 * d), tl.load(uv + 2 * d + 1)
    us, vs = (1 - t) * (bu - au) + t * (cu - du), (1 - t) * (bv - av) + t * (cv - dv)
    ut, vt = (1 - s) * (du - au) + s * (cu - bu), (1 - s) * (dv - av) + s * (cv - bv)
    count = (tl.load(row_start + texel + 1) - tl.load(row_start + texel)).to(features.dtype.element_ty)
    scale = 1 / (_cross(us, vs, ut, vt) * count)
    tl.store(pull + 2 * pair, scale * (vt * by_s - vs * by_t))
    tl.store(pull + 2 * pair + 1, scale * (us * by_t - ut * by_s))


@triton.jit
def gather_pixels(
    quad_start, order, row, row_start, place, by_out, pull, by_features, by_uv, height, width, channels,
    WITH_FEATURES: tl.constexpr, WITH_UV: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Gradients of one pixel, from the quads around it: by f_k w_k / n g, by u_k -w_k / n z."""
    pixel = tl.program_id(0)
    lane = tl.arange(0, LANES)
    kept = lane < channels
    total = tl.zeros([LANES], by_out.dtype.element_ty)
    by_u = tl.sum(total, 0)
    by_v = by_u
    for corner in tl.static_range(4):
        left = 1 if corner == 1 or corner == 2 else 0
        up = 1 if corner >= 2 else 0
        there = (pixel % width >= left) & (pixel // width % height >= up)
        a = tl.where(there, pixel - left - up * width, 0)
        begin, end = tl.load(quad_start + a), tl.load(quad_start + a + 1)
        end = tl.where(there, end, begin)
        for at in range(begin, end):
            pair = tl.load(order + at)
            weight = _weight(tl.load(place + 2 * pair), tl.load(place + 2 * pair + 1), corner)
            if WITH_UV:
                by_u -= weight * tl.load(pull + 2 * pair)
                by_v -= weight * tl.load(pull + 2 * pair + 1)
            if WITH_FEATURES:
                texel = tl.load(row + pair)
                count = tl.load(row_start + texel + 1) - tl.load(row_start + texel)
                g = tl.load(by_out + texel * channels + lane, kept, 0.0)
                total += weight / count.to(by_out.dtype.element_ty) * g
    if WITH_FEATURES:
        tl.store(by_features + pixel.to(tl.int64) * channels + lane, total, kept)
    if WITH_UV:
        tl.store(by_uv + 2 * pixel, by_u)
        tl.store(by_uv + 2 * pixel + 1, by_v)
