"""A synthetic class whose poses are known: elongated objects with one high end, seen from continuous cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.generators import stable_hash
from raylift.core.types import Batch, Camera, Mesh
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.metrics.pose import rotation_error_deg
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from tests.models.mesh_texture_samples import rows

ELEVATION_DEG = (5.0, 45.0)
YAWS = orbit_rotations(torch.arange(0, 360, 5.0), torch.zeros(72))
TURNS = YAWS[0].mT @ YAWS
"""Rotations about the vertical axis: what a search may choose its front by."""


def long_object(sizes: Float[Tensor, "4"]) -> Mesh:
    """An ellipsoid along z whose front is raised and narrow and whose back is thin, in three shades."""
    sphere = symmetric_icosphere(3)
    x, y, z = (2 * sphere.vertices).unbind(1)
    front, back = z.clamp(min=0), (-z).clamp(min=0)
    vertices = torch.stack(
        [
            0.22 * sizes[0] * x * (1 - 0.45 * front),
            0.2 * sizes[1] * y * (1 - 0.5 * back) + 0.28 * sizes[2] * front**3,
            0.5 * sizes[3] * z,
        ],
        dim=1,
    )
    shades = torch.stack([0.3 + 0.5 * (z > 0.3), 0.5 + 0.2 * y, 0.3 + 0.3 * (z < -0.3)], dim=1)
    return Mesh(vertices, sphere.faces, shades.float().clamp(0, 1))


def ball(_: Float[Tensor, "4"]) -> Mesh:
    """A grey ball."""
    sphere = symmetric_icosphere(3)
    return Mesh(sphere.vertices, sphere.faces, torch.full_like(sphere.vertices, 0.5))


@lru_cache(maxsize=8)
def single_views(
    count: int,
    image_px: int,
    seed: int,
    shape: Callable[[Tensor], Mesh] = long_object,
    azimuth_deg: tuple[float, float] = (0.0, 360.0),
    elevation_deg: tuple[float, float] = ELEVATION_DEG,
) -> Batch:
    """One picture per object, its camera drawn uniformly; the true cameras are in ``camera``."""
    draws = torch.Generator().manual_seed(seed)
    pictures, cameras = [], []
    for _ in range(count):
        mesh = shape(0.9 + 0.2 * torch.rand(4, generator=draws))
        share = torch.rand(5, generator=draws)
        low, high = (torch.tensor(limits) for limits in zip(azimuth_deg, elevation_deg, strict=True))
        angles = low + (high - low) * share[:2]
        camera = Camera(
            (1.5 + 0.2 * share[2]).expand(1, 2),
            0.2 * (share[None, 3:] - 0.5),
            orbit_rotations(angles[:1], angles[1:]).float(),
            torch.tensor([[0.0, 0.0, 5.0]]),
            "orthographic",
        )
        pictures.append(render(mesh, camera, image_px, Lighting.ambient())[0])
        cameras.append(camera)
    fields = {
        "image": torch.stack([torch.from_numpy(one.rgb.transpose(2, 0, 1).copy()).float() for one in pictures]),
        "mask": torch.stack([torch.from_numpy(one.alpha)[None].float() for one in pictures]),
        "image_index": torch.arange(count),
    }
    names = tuple(f"view-{seed}-{index}#0" for index in range(count))
    return Batch(names, torch.tensor([stable_hash(name) for name in names]), fields, Camera.stack(cameras))


def feed(whole: Batch, batch_size: int) -> Callable[[int, int], Iterator[Batch]]:
    """Global batches that go through the images in order, again and again; without cameras."""
    blind = replace(whole, camera=None)

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            yield rows(blind, [row % len(whole) for row in range(step * batch_size, (step + 1) * batch_size)])

    return batches


def best_turn(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 3"]:
    """The turn about the vertical axis that brings most images within 30 degrees; fit it on training images only."""
    errors = torch.stack([rotation_error_deg(predicted @ turn, truth) for turn in TURNS])
    return TURNS[int(((errors < 30).double().mean(dim=1) - errors.clamp(max=30).mean(dim=1) / 3000).argmax())]


def within_30(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> float:
    """The share of rotations that are within 30 degrees."""
    return float((rotation_error_deg(predicted, truth) < 30).double().mean())


def constant_within_30(training: Float[Tensor, "N 3 3"], held_out: Float[Tensor, "B 3 3"]) -> float:
    """Held-out score of the one training camera that is within 30 degrees of most training cameras."""
    shares = [within_30(one.expand_as(training), training) for one in training]
    best = training[max(range(len(shares)), key=shares.__getitem__)]
    return within_30(best.expand_as(held_out), held_out)


def random_within_30(truth: Float[Tensor, "B 3 3"], repeats: int = 50) -> float:
    """Score of poses that are drawn as the true ones were."""
    draws = torch.Generator().manual_seed(0)
    low, high = ELEVATION_DEG
    shares = []
    for _ in range(repeats):
        share = torch.rand(2, len(truth), generator=draws)
        shares.append(within_30(orbit_rotations(360 * share[0], low + (high - low) * share[1]), truth))
    return sum(shares) / repeats


def azimuth_spread_deg(rotations: Float[Tensor, "B 3 3"]) -> float:
    """Standard deviation of the cameras' azimuths in (-180, 180]: 104 of uniform ones, 0 of collapsed ones."""
    backward = -rotations[:, 2]
    return float(torch.rad2deg(torch.atan2(backward[:, 0], backward[:, 2])).std())
