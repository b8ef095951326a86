"""A predicted and a true shape, with quantities that several protocols share computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from raylift.core.errors import DataError
from raylift.core.generators import numpy_generator
from raylift.geometry.sampling import face_areas_and_normals, sample_surface
from raylift.geometry.voxels import grid_points
from raylift.metrics.corner_lattice import CornerLattice, corner_lattice
from raylift.metrics.inside import InsideTest
from raylift.metrics.nearest import Cloud, Nearest, match

SOLID_RESOLUTION = 32
"""Voxels per edge of the unit cube, for ``Shape.solid``."""


@dataclass(frozen=True)
class Normalization:
    """The frame of a protocol's distances: x -> (x - center) * scale."""

    center: Float[np.ndarray, "3"]
    scale: float

    def apply(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        return (points - self.center) * self.scale


class Shape:
    """A triangle mesh as metrics see it.

    Args:
        vertices: [V, 3], world units.
        faces: [F, 3]; may be none.
    """

    def __init__(self, vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        self.vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.faces = np.ascontiguousarray(faces, dtype=np.int64)
        if not np.isfinite(self.vertices).all():
            raise DataError("a mesh to be measured has vertices that are not finite", "check the run that made it")

    @cached_property
    def is_empty(self) -> bool:
        """Whether there is no surface: no faces, or none with an area."""
        return not face_areas_and_normals(self.vertices, self.faces)[0].any()

    @cached_property
    def surface_vertices(self) -> Float[np.ndarray, "U 3"]:
        """Vertices used by a face, in their order."""
        return self.vertices[np.bincount(self.faces.ravel(), minlength=len(self.vertices)) > 0]

    @cached_property
    def inside(self) -> InsideTest:
        return InsideTest(self.vertices, self.faces)

    @cached_property
    def solid(self) -> Bool[np.ndarray, "C"]:
        """Which of the 32^3 voxels of the unit cube [-0.5, 0.5]^3 have their centres inside, flat in [x, y, z] order.

        What is outside of the cube does not count.
        """
        return self.inside.contains(grid_points(SOLID_RESOLUTION, 0.5).astype(np.float64))

    def sample(self, count: int, rng: np.random.Generator) -> Cloud:
        """Points uniform on the surface, by area."""
        points, _, normals = sample_surface(self.vertices, self.faces, count, rng)
        return Cloud(np.asarray(points, np.float64), np.asarray(normals, np.float64))


class TargetShape:
    """A true shape with its stored samples.

    Args:
        id: object id, which keys the draws.
        shape: watertight mesh.
        surface: stored surface sample; if it has fewer points than a protocol needs, the mesh is sampled.
        iou_points, iou_inside: stored uniform points with their membership; None omits OccNet's IoU.

    Raises:
        DataError: the shape has no faces.
    """

    def __init__(
        self,
        id: str,
        shape: Shape,
        surface: Cloud | None = None,
        iou_points: Float[np.ndarray, "M 3"] | None = None,
        iou_inside: Bool[np.ndarray, "M"] | None = None,
        seed: int = 0,
    ) -> None:
        if shape.is_empty:
            raise DataError(f"the true shape of {id} has no faces", "prepare the data set again without this object")
        self.id, self.shape, self.seed = id, shape, seed
        self.iou_points, self.iou_inside = iou_points, iou_inside
        self._surface = surface
        self._surfaces: dict[int, Cloud] = {}

    def surface(self, count: int) -> Cloud:
        """``count`` points on the true surface."""
        if self._surface is None or len(self._surface) < count:
            self._surface = self.shape.sample(count, numpy_generator(self.seed, self.id, "truth surface"))
        return self._surface.first(count)

    def cloud(self, count: int) -> Cloud:
        """The first ``count`` of 100 000 points on the true surface, the same cloud each time, indexed once."""
        if count not in self._surfaces:
            self._surfaces[count] = self.surface(100_000).first(count)
        return self._surfaces[count]

    @cached_property
    def unit_sphere(self) -> Normalization:
        """DISN's frame: the mean of 16 384 surface points at the origin, the farthest of them at distance 1."""
        points = self.shape.sample(16_384, numpy_generator(self.seed, self.id, "unit sphere")).points
        center = points.mean(axis=0)
        return Normalization(center, 1.0 / float(np.linalg.norm(points - center, axis=1).max()))

    @cached_property
    def corner_lattice(self) -> CornerLattice:
        """The shape in the unit sphere on the lattice of DISN's IoU."""
        return corner_lattice(self.unit_sphere.apply(self.shape.vertices), self.shape.faces)

    @cached_property
    def unit_box(self) -> Normalization:
        """IF-Net's frame: the bounding box's centre at the origin, its longest edge 1."""
        vertices = self.shape.surface_vertices
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        return Normalization((low + high) / 2, 1.0 / float((high - low).max()))

    @cached_property
    def million_points(self) -> Float[np.ndarray, "M 3"]:
        """IF-Net's uniform points of the cube around ``unit_box``, in world units."""
        points = numpy_generator(self.seed, self.id, "million points").uniform(-0.5, 0.5, (1_000_000, 3))
        return points / self.unit_box.scale + self.unit_box.center

    @cached_property
    def million_inside(self) -> Bool[np.ndarray, "M"]:
        return self.shape.inside.contains(self.million_points)


class ShapePair:
    """One predicted shape against one truth; draws depend on (seed, object id) only: equal meshes get equal scores."""

    def __init__(self, predicted: Shape, truth: TargetShape) -> None:
        self.predicted, self.truth = predicted, truth
        self._near: dict[int, Nearest] = {}

    def rng(self, purpose: str) -> np.random.Generator:
        return numpy_generator(self.truth.seed, self.truth.id, purpose)

    @cached_property
    def surface(self) -> Cloud:
        """100 000 points on the predicted surface."""
        return self.predicted.sample(100_000, self.rng("predicted surface"))

    def near(self, count: int) -> Nearest:
        """Nearest neighbours between samples of ``count`` points each, at most 100 000."""
        if count not in self._near:
            self._near[count] = match(self.surface.first(count), self.truth.cloud(count))
        return self._near[count]
