"""From a field to a mesh: marching cubes that evaluates only near the surface, with the dense grid's result.

The grid is the one of all conditioning grids: R^3 samples at the centres of cells over [-h, h]^3. A rim of far outside
samples surrounds it, so that a surface that leaves the grid is capped and the mesh is closed.

**Coarse to fine.** The field is evaluated on a coarse lattice. A lattice cell is split in two along each axis, and its
new corners evaluated, if the surface may pass through it; the samples of the others are filled in with their corners'
sign.

*When may it?* Its corners differ in sign; or the field, which changes by at most L per unit length, could reach zero
between them. With corner values v_i of one sign and cell size s:

    |f(p)| >= min |v_i| - L s sqrt(3) / 2      the nearest corner is at most half the diagonal away
    |f(p)| >= mean |v_i| - 1.1212 L s          the eight corners are on average at most this far away

so the cell is skipped if either bound is positive. A cell at the grid's border with a corner inside is kept: it has a
cap.

*What can be missed?* Nothing if the field is L-Lipschitz, as signed distances are with L = 1. Networks and occupancies
are not, so a whole component of the surface (a floating blob, a bubble) could be missed if it is between the samples of
cells that seemed far from it. Safeguards:

* the coarse lattice is fine: at the default, only parts smaller than 1/32 of the grid fit between its samples;
* L is measured on the coarse lattice and raised to the measured value (up to twice a distance's);
* the surface is *followed*: wherever a sign change touches a filled-in sample, its surroundings are evaluated, until
  the surface closes. One sample of a component finds all of it: thin legs and bridges are never cut off;
* random probes of filled-in samples; a hit is followed too, and counted in the statistics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from skimage.measure import marching_cubes

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Field, Mesh

Progress = Callable[[int, int], None]
"""Called with (evaluated so far, known to be needed so far)."""

_UNKNOWN, _FILLED, _QUEUED, _KNOWN = 0, 1, 2, 3
_MEAN_CORNER_DISTANCE = 1.1212  # (3 + 3 sqrt(2) + sqrt(3)) / 8: convex in the point, so largest at a corner
_LIPSCHITZ_RANGE = (1.0, 2.0)
_NUM_PROBES = 4096
_CPU_CHUNK, _GPU_CHUNK = 8192, 65_536


@dataclass(frozen=True)
class ExtractionStats:
    """Cost of an extraction.

    Attributes:
        resolution: samples along an edge.
        num_evaluations: number of field queries, including vertex colours.
        num_vertex_evaluations: number of queries for vertex colours.
        num_dense: number of queries of a dense grid, including vertex colours.
        num_followed: samples found only by following the surface into skipped cells; 0 means that the bound held.
        num_probe_hits: random probes whose sign contradicted the fill; more than 0 means that a part had been missed.
        lipschitz: Lipschitz constant used.
        seconds: total wall time; ``query_seconds`` of it inside the field.
    """

    resolution: int
    num_evaluations: int
    num_vertex_evaluations: int
    num_dense: int
    num_followed: int
    num_probe_hits: int
    lipschitz: float
    seconds: float
    query_seconds: float


def extract(
    field: Field,
    resolution: int = 256,
    chunk: int | None = None,
    level: float = 0.0,
    coarse: int = 32,
    lipschitz: float | None = None,
    colors: bool = True,
    progress: Progress | None = None,
) -> tuple[Mesh, ExtractionStats]:
    """Extract the surface ``field == level`` as a closed mesh, faces counter-clockwise seen from outside.

    Args:
        field: field that is negative (below ``level``) inside.
        resolution: samples along an edge of the grid.
        chunk: points per query, which bounds the field's memory (the grid itself takes 6 bytes per sample); None uses
            the fastest: few enough for the caches of a CPU, many on a GPU.
        level: iso-value.
        coarse: least number of samples along an edge of the coarsest lattice; 0 evaluates the whole grid.
        lipschitz: largest change of the field per unit length; None measures it, within [1, 2].
        colors: whether to query the colour at every vertex.
        progress: callback, see ``Progress``.

    Returns:
        the mesh on the CPU (without faces if the field never crosses the level) and its cost.

    Raises:
        ConfigError: an impossible resolution or chunk.
        DataError: the field returns values that are not finite.
    """
    if chunk is None:
        chunk = _CPU_CHUNK if field.device.type == "cpu" else _GPU_CHUNK
    if resolution < 2 or chunk < 1 or coarse < 0:
        raise ConfigError(
            f"iso-surface resolution is {resolution}, chunk {chunk}, coarse {coarse}",
            "use a resolution of at least 2, a chunk of at least 1 and a coarse lattice of 0 or more",
        )
    start = time.perf_counter()
    grid = _Grid(field, resolution, chunk, level, progress)
    stride = 1
    while coarse and resolution // (2 * stride) >= coarse:
        stride *= 2
    slope = grid.refine(stride, lipschitz)
    num_followed = grid.follow(grid.open_ends()) if stride > 1 else 0
    num_hits = 0
    if stride > 1:
        hits = grid.probe(_NUM_PROBES)
        num_hits = len(hits)
        num_followed += grid.follow(hits)

    vertices, faces = grid.triangulate()
    positions = torch.from_numpy(grid.to_world(vertices))
    vertex_colors = None
    num_grid = grid.num_evaluations
    if colors:
        vertex_colors = torch.cat([grid.colors(part) for part in torch.split(positions, chunk)] or [positions])
        vertex_colors = vertex_colors.clamp(0, 1)
    num_vertices = grid.num_evaluations - num_grid
    stats = ExtractionStats(
        resolution=resolution,
        num_evaluations=grid.num_evaluations,
        num_vertex_evaluations=num_vertices,
        num_dense=resolution**3 + num_vertices,
        num_followed=num_followed,
        num_probe_hits=num_hits,
        lipschitz=slope,
        seconds=time.perf_counter() - start,
        query_seconds=grid.query_seconds,
    )
    return Mesh(positions, torch.from_numpy(faces), vertex_colors), stats


class _Grid:
    """Samples with a rim of one around them (indices 0 and R + 1), and their states."""

    def __init__(self, field: Field, resolution: int, chunk: int, level: float, progress: Progress | None) -> None:
        self.field, self.resolution, self.chunk, self.level, self.progress = field, resolution, chunk, level, progress
        self.spacing = 2 * field.half_extent / resolution
        side = resolution + 2
        self.far = float(2 * field.half_extent)
        self.values = np.full((side, side, side), self.far, np.float32)
        self.state = np.full((side, side, side), _KNOWN, np.uint8)
        self.state[1:-1, 1:-1, 1:-1] = _UNKNOWN
        self.num_evaluations = 0
        self.num_planned = 0
        self.query_seconds = 0.0

    def to_world(self, indices: np.ndarray) -> np.ndarray:
        """Positions of (fractional) padded indices."""
        return ((indices - 0.5) * self.spacing - self.field.half_extent).astype(np.float32)

    def samples(self, points: torch.Tensor) -> torch.Tensor:
        """The field's values."""
        return self._ask(self.field.values_at, points)

    def colors(self, points: torch.Tensor) -> torch.Tensor:
        """The field's colours."""
        return self._ask(lambda where: self.field.query(where)[1], points)

    def _ask(self, question: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        with torch.no_grad():
            answer = question(points.to(self.field.device)).float().cpu()
        self.query_seconds += time.perf_counter() - start
        self.num_evaluations += len(points)
        return answer

    def evaluate(self, flat: np.ndarray) -> None:
        """Query the field at flat padded indices."""
        self.num_planned = self.num_evaluations + len(flat)
        values, state = self.values.reshape(-1), self.state.reshape(-1)
        for first in range(0, len(flat), self.chunk):
            part = flat[first : first + self.chunk]
            where = np.stack(np.unravel_index(part, self.values.shape), axis=1)
            answer = self.samples(torch.from_numpy(self.to_world(where))).numpy() - np.float32(self.level)
            if answer.shape != part.shape:
                raise DataError(f"a field returned values of shape {answer.shape} at {len(part)} points", "return [N]")
            if not np.isfinite(answer).all():
                raise DataError("a field returned values that are not finite", "check its checkpoint")
            values[part], state[part] = answer, _KNOWN
            if self.progress is not None:
                self.progress(self.num_evaluations, self.num_planned)

    def refine(self, stride: int, lipschitz: float | None) -> float:
        """Evaluate wherever the surface may pass; returns the Lipschitz constant used."""
        last = self.resolution
        axis = np.unique(np.append(np.arange(1, last + 1, stride), last))
        lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        self.evaluate(np.ravel_multi_index(tuple(lattice.T), self.values.shape))
        slope = lipschitz if lipschitz is not None else self._measured_slope(axis)
        origins = np.arange(1, last, stride)
        cells = np.stack(np.meshgrid(origins, origins, origins, indexing="ij"), axis=-1).reshape(-1, 3)
        while stride > 1:
            reach = slope * stride * self.spacing
            active = _classify(self.values, self.state, cells, stride, last, reach, self.far)
            stride //= 2
            needed, cells = _split(self.state, cells[active], stride, last)
            self.evaluate(needed)
        return float(slope)

    def _measured_slope(self, axis: np.ndarray) -> float:
        """The 99.9th percentile of |change| per unit length along the coarse lattice's edges, within bounds."""
        coarse = self.values[np.ix_(axis, axis, axis)]
        lengths = np.diff(axis) * self.spacing
        slopes = [np.abs(np.diff(np.moveaxis(coarse, a, 2), axis=2) / lengths).ravel() for a in range(3)]
        return float(np.clip(np.quantile(np.concatenate(slopes), 0.999), *_LIPSCHITZ_RANGE))

    def probe(self, count: int) -> np.ndarray:
        """Evaluate random filled-in samples; returns those whose sign was filled in wrongly."""
        drawn = np.random.default_rng(0).integers(0, self.state.size, 4 * count)
        drawn = np.unique(drawn[self.state.reshape(-1)[drawn] == _FILLED][:count])
        before = self.values.reshape(-1)[drawn] > 0
        self.evaluate(drawn)
        wrong: np.ndarray = drawn[(self.values.reshape(-1)[drawn] > 0) != before]
        return wrong

    def open_ends(self) -> np.ndarray:
        """Known samples with a filled one next to them: where a surface that was cut off ends."""
        ends: np.ndarray = _beside_filled(self.state)
        return ends

    def follow(self, seeds: np.ndarray) -> int:
        """From these samples, evaluate around sign changes that touch filled samples until none does; returns a
        count."""
        num_before = self.num_evaluations
        frontier = _follow_from(self.values, self.state, seeds)
        while len(frontier):
            self.evaluate(frontier)
            frontier = _follow_from(self.values, self.state, frontier)
        return self.num_evaluations - num_before

    def triangulate(self) -> tuple[np.ndarray, np.ndarray]:
        """Marching cubes (Lewiner et al. 2003) over the cells whose samples are known."""
        known = self.state == _KNOWN
        interior = self.values[1:-1, 1:-1, 1:-1]
        if not (interior <= 0).any():
            return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
        vertices, faces, _, _ = marching_cubes(self.values, 0.0, gradient_direction="descent", mask=known)
        return vertices, faces.astype(np.int64)


@njit(cache=True, nogil=True)
def _classify(values, state, cells, stride, last, reach, far):  # type: ignore[no-untyped-def]
    """Which cells the surface may pass through; the samples of the others are filled in with their corners' sign."""
    active = np.zeros(len(cells), np.bool_)
    for c in range(len(cells)):
        i0, j0, k0 = cells[c, 0], cells[c, 1], cells[c, 2]
        i1, j1, k1 = min(i0 + stride, last), min(j0 + stride, last), min(k0 + stride, last)
        num_inside, least, total = 0, np.inf, 0.0
        for i in (i0, i1):
            for j in (j0, j1):
                for k in (k0, k1):
                    value = values[i, j, k]
                    num_inside += value <= 0.0
                    least = min(least, abs(value))
                    total += abs(value)
        # A cell inside at the grid's border gets a cap, so the border's own samples are needed.
        at_border = min(i0, j0, k0) == 1 or max(i1, j1, k1) == last
        near = least <= 0.8660255 * reach and total <= 8 * _MEAN_CORNER_DISTANCE * reach
        if 0 < num_inside < 8 or near or (num_inside > 0 and at_border):
            active[c] = True
            continue
        filling = -far if num_inside else far
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                for k in range(k0, k1 + 1):
                    if state[i, j, k] == _UNKNOWN:
                        state[i, j, k] = _FILLED
                        values[i, j, k] = filling
    return active


@njit(cache=True, nogil=True)
def _split(state, cells, stride, last):  # type: ignore[no-untyped-def]
    """The samples at the corners of the cells' children that are not known yet (queued now), and the children."""
    _, height, depth = state.shape
    needed = np.empty(27 * len(cells), np.int64)
    children = np.empty((8 * len(cells), 3), np.int64)
    num_needed, num_children = 0, 0
    for c in range(len(cells)):
        i0, j0, k0 = cells[c, 0], cells[c, 1], cells[c, 2]
        for a in range(3):
            for b in range(3):
                for d in range(3):
                    i, j, k = min(i0 + a * stride, last), min(j0 + b * stride, last), min(k0 + d * stride, last)
                    if state[i, j, k] < _QUEUED:
                        state[i, j, k] = _QUEUED
                        needed[num_needed] = (i * height + j) * depth + k
                        num_needed += 1
                    if max(a, b, d) < 2 and max(i, j, k) < last:
                        children[num_children, 0], children[num_children, 1], children[num_children, 2] = i, j, k
                        num_children += 1
    return needed[:num_needed].copy(), children[:num_children].copy()


@njit(cache=True, nogil=True)
def _queue_around(values, state, i, j, k, needed):  # type: ignore[no-untyped-def]
    """Queue unknown samples of the cells at a known sample that have a sign change and a filled-in corner."""
    side = state.shape[0]
    for ci in range(max(0, i - 1), min(i, side - 2) + 1):
        for cj in range(max(0, j - 1), min(j, side - 2) + 1):
            for ck in range(max(0, k - 1), min(k, side - 2) + 1):
                num_inside, num_filled = 0, 0
                for a in range(8):
                    x, y, z = ci + (a & 1), cj + ((a >> 1) & 1), ck + (a >> 2)
                    num_inside += values[x, y, z] <= 0.0
                    num_filled += state[x, y, z] < _QUEUED
                if num_filled == 0 or num_inside == 0 or num_inside == 8:
                    continue
                for x in range(max(1, ci - 1), min(side - 2, ci + 2) + 1):
                    for y in range(max(1, cj - 1), min(side - 2, cj + 2) + 1):
                        for z in range(max(1, ck - 1), min(side - 2, ck + 2) + 1):
                            if state[x, y, z] < _QUEUED:
                                state[x, y, z] = _QUEUED
                                needed.append((x * side + y) * side + z)


@njit(cache=True, nogil=True)
def _as_array(needed):  # type: ignore[no-untyped-def]
    array = np.empty(len(needed), np.int64)
    for n in range(len(needed)):
        array[n] = needed[n]
    return array


@njit(cache=True, nogil=True)
def _beside_filled(state):  # type: ignore[no-untyped-def]
    """Find known samples next to filled ones. If neighbouring fills contradict each other, a known corner is on the
    face between them, so checking around known samples finds every contradiction."""
    side = state.shape[0]
    found = [np.int64(0) for _ in range(0)]
    for i in range(1, side - 1):
        for j in range(1, side - 1):
            for k in range(1, side - 1):
                if state[i, j, k] == _KNOWN and (
                    state[i - 1, j, k] == _FILLED
                    or state[i + 1, j, k] == _FILLED
                    or state[i, j - 1, k] == _FILLED
                    or state[i, j + 1, k] == _FILLED
                    or state[i, j, k - 1] == _FILLED
                    or state[i, j, k + 1] == _FILLED
                ):
                    found.append((i * side + j) * side + k)
    return _as_array(found)


@njit(cache=True, nogil=True)
def _follow_from(values, state, seeds):  # type: ignore[no-untyped-def]
    side = state.shape[0]
    needed = [np.int64(0) for _ in range(0)]
    for n in range(len(seeds)):
        flat = seeds[n]
        _queue_around(values, state, flat // (side * side), (flat // side) % side, flat % side, needed)
    return _as_array(needed)
