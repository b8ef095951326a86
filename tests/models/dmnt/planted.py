"""Planted worlds for the inference: templates, banks and feature maps whose truth is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from raylift.core.types import Camera
from raylift.geometry.cameras import focal_of_fov
from raylift.geometry.pose_grid import pose_quaternions
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.models.dmnt.inference.candidates import shifted_camera
from raylift.networks.deformable_templates import DeformableTemplates, DeformableTemplatesConfig
from raylift.networks.neural_texture import NeuralTexture, NeuralTextureConfig
from raylift.rendering.uv_fragments import uv_fragments

Look = Literal["white", "smooth"]
FOV_DEG = 47.0
DISTANCE = 2.2
LEVELS = ((0.0, 0.0), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8))
"""Hidden share of the object at L0 to L3."""


@dataclass(frozen=True)
class World:
    """Shapes and features of C categories."""

    templates: DeformableTemplates
    texture: NeuralTexture


@dataclass(frozen=True)
class Pictures:
    """Feature maps with their truth."""

    features: Float[Tensor, "B D S S"]
    category: Int[Tensor, "B"]
    latent: Float[Tensor, "B L"]
    camera: Camera
    amodal: Bool[Tensor, "B S S"]
    visible: Bool[Tensor, "B S S"]


def world(
    num_categories: int = 3, look: Look = "white", texels: int = 32, channels: int = 32, level: int = 8, seed: int = 0
) -> World:
    """Superquadrics of several extents, from a box to a ball, with random banks and a random deformation."""
    draws = torch.Generator().manual_seed(seed)
    config = DeformableTemplatesConfig(level=level, latent=4, hidden=32, octaves=1, max_offset=0.15)
    templates = DeformableTemplates(config, [f"kind{index}" for index in range(num_categories)], seed)
    direction = normalize(templates.vertices[0], dim=1)
    for index in range(num_categories):
        power = 2.0 + 6.0 * index / max(num_categories - 1, 1)
        ball = direction / direction.abs().pow(power).sum(1, keepdim=True).pow(1 / power)
        extent = 0.45 + 0.55 * torch.rand(3, generator=draws)
        templates.vertices[index] = ball * 0.5 * extent / extent.max()
    assert templates.deformation is not None
    for parameter in templates.deformation.last.parameters():
        parameter.data = 0.6 * torch.randn(parameter.shape, generator=draws) / math.sqrt(parameter.shape[-1])
    templates.requires_grad_(False)

    banks = NeuralTexture(NeuralTextureConfig(texels=texels, num_clutter=16), num_categories, channels, seed)
    banks.seen.fill_(1.0)
    if look == "smooth":
        waves = 4.0 * torch.randn(num_categories, 3, channels, generator=draws)
        phase = 2 * math.pi * torch.rand(num_categories, 1, channels, generator=draws)
        values = torch.sin(banks.directions @ waves + phase)
        banks.texture.copy_(normalize(values, dim=-1).reshape(banks.texture.shape))
    return World(templates, banks)


def random_cameras(
    count: int, draws: torch.Generator, distances: tuple[float, float] = (DISTANCE, DISTANCE), offset: float = 0.0
) -> Camera:
    """Poses over the ranges that the default grid covers."""
    azimuth = 2 * math.pi * torch.rand(count, generator=draws)
    elevation = torch.deg2rad(-30 + 90 * torch.rand(count, generator=draws))
    roll = torch.deg2rad(-30 + 60 * torch.rand(count, generator=draws))
    translation = torch.zeros(count, 3)
    translation[:, 2] = distances[0] + (distances[1] - distances[0]) * torch.rand(count, generator=draws)
    camera = Camera(
        focal=torch.full((count, 2), focal_of_fov(FOV_DEG)),
        principal=torch.zeros(count, 2),
        rotation=quaternion_to_matrix(pose_quaternions(azimuth, elevation, roll)),
        translation=translation,
    )
    return shifted_camera(camera, offset * (2 * torch.rand(count, 2, generator=draws) - 1), "translation")


def pictures(
    shown: World,
    count: int,
    side: int = 32,
    noise: float = 1.0,
    hidden: tuple[float, float] = (0.0, 0.0),
    deform: float = 0.0,
    distances: tuple[float, float] = (DISTANCE, DISTANCE),
    offset: float = 0.0,
    seed: int = 1,
) -> Pictures:
    """Rendered features plus noise, clutter's features around them, and rectangles of clutter over them.

    Args:
        noise: length of the noise relative to the features; 1 leaves a cosine of about 0.7.
        hidden: lowest and highest share of the object that is covered.
        deform: standard deviation of the latents.
    """
    draws = torch.Generator().manual_seed(seed)
    category = torch.arange(count) % len(shown.texture.texture)
    latent = deform * torch.randn(count, shown.templates.config.latent, generator=draws)
    camera = random_cameras(count, draws, distances, offset)
    with torch.no_grad():
        vertices = shown.templates(category, latent)
        found = uv_fragments(vertices, shown.templates.faces, shown.templates.corner_uvs, camera, side)
        object_features = shown.texture.read(category, found.uv)
    visible = found.mask.clone()
    for index in range(count):
        visible[index] &= ~_occluder(found.mask[index], hidden, draws)
    clutter = shown.texture.clutter
    around = clutter[torch.randint(len(clutter), visible.shape, generator=draws)]
    clean = torch.where(visible[..., None], object_features, around)
    speckle = noise * normalize(torch.randn(clean.shape, generator=draws), dim=-1)
    features = normalize(clean + speckle, dim=-1).movedim(-1, 1)
    return Pictures(features, category, latent, camera, found.mask, visible)


def _occluder(mask: Bool[Tensor, "S S"], hidden: tuple[float, float], draws: torch.Generator) -> Bool[Tensor, "S S"]:
    """A rectangle that hides a share of the mask within the limits."""
    covered = torch.zeros_like(mask)
    if hidden[1] == 0:
        return covered
    side, place = len(mask), mask.nonzero()
    for _ in range(2000):
        center = place[int(torch.randint(len(place), (1,), generator=draws))]
        half = (side * (0.1 + 0.4 * torch.rand(2, generator=draws))).long()
        covered.zero_()
        low, high = (center - half).clamp(min=0), center + half + 1
        covered[low[0] : high[0], low[1] : high[1]] = True
        share = float((covered & mask).sum() / mask.sum())
        if hidden[0] <= share <= hidden[1]:
            return covered
    raise AssertionError(f"no rectangle hides {hidden}")
