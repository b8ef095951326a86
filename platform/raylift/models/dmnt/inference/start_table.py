"""The table of coarse poses: which texel each pixel shows, per category and start, stored once per template state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import focal_of_fov
from raylift.geometry.pose_grid import pose_grid
from raylift.geometry.rotations import quaternion_to_matrix
from raylift.models.dmnt.inference.config import OffsetKind, StartConfig
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.rendering.uv_fragments import uv_fragments

CHUNK = 48
"""Starts rasterised at once."""


@dataclass(frozen=True)
class StartTable:
    """Coarse poses of a centred object, and the texel that each pixel of them shows.

    Attributes:
        camera: one per start: rotations x distances, the rotation changing fastest.
        texels: index into a ``TextureBanks`` texture; -1 beside the object. int16 for up to 32 767 texels.
        shifts: offsets of the object to try, (right, down) in whole pixels of this table.
        offset: what moves by them.
    """

    camera: Camera
    texels: Int[Tensor, "C K S S"]
    shifts: Int[Tensor, "J 2"]
    offset: OffsetKind

    @property
    def side(self) -> int:
        return int(self.texels.shape[-1])


@torch.no_grad()
def build_start_table(templates: DeformableTemplates, config: StartConfig, feature_px: int, texels: int) -> StartTable:
    """Rasterise every category's mean shape from every start.

    Args:
        feature_px: side of the feature map; starts are ranked at 1 / config.stride of it.
        texels: texels per side of the banks.
    """
    camera = start_cameras(config, templates.faces.device)
    side = feature_px // config.stride
    dtype = torch.int16 if texels * texels <= torch.iinfo(torch.int16).max else torch.int32
    tables = []
    for category in range(len(templates.latent_mean)):
        label = torch.tensor([category], device=templates.faces.device)
        vertices = templates(label, templates.latent_mean[label])
        tables.append(torch.cat([_seen_texels(vertices, templates, part, side, texels) for part in _parts(camera)]))
    shifts = pixel_shifts(config, side, camera.focal.device)
    return StartTable(camera, torch.stack(tables).to(dtype), shifts, config.offset)


def start_cameras(config: StartConfig, device: torch.device | str = "cpu") -> Camera:
    """Cameras of all starts that look at the object's centre."""
    rotation = quaternion_to_matrix(pose_grid(config.rotations).quaternions)
    count, distances = len(rotation), torch.tensor(config.distances)
    translation = torch.zeros(len(distances), count, 3)
    translation[..., 2] = distances[:, None]
    total = count * len(distances)
    return Camera(
        focal=torch.full((total, 2), focal_of_fov(config.fov_deg)),
        principal=torch.zeros(total, 2),
        rotation=rotation.repeat(len(distances), 1, 1),
        translation=translation.reshape(-1, 3),
    ).to(device)


def pixel_shifts(config: StartConfig, side: int, device: torch.device | str = "cpu") -> Int[Tensor, "J 2"]:
    """Offsets to try, without duplicates after rounding to whole pixels; the first is none at all."""
    axis = torch.linspace(-config.max_offset, config.max_offset, config.offsets).tolist() if config.offsets > 1 else []
    pixels = sorted({0} | {round(offset * side / 2) for offset in axis})
    pairs = [(right, down) for right in pixels for down in pixels]
    return torch.tensor(sorted(pairs, key=lambda pair: math.hypot(*pair)), device=device)


def _parts(camera: Camera) -> list[Camera]:
    return [camera[slice(first, first + CHUNK)] for first in range(0, len(camera), CHUNK)]


def _seen_texels(
    vertices: Float[Tensor, "1 V 3"], templates: DeformableTemplates, camera: Camera, side: int, texels: int
) -> Int[Tensor, "K S S"]:
    shapes = vertices.expand(len(camera), -1, -1)
    found = uv_fragments(shapes, templates.faces, templates.corner_uvs, camera, side)
    column, row = (found.uv * texels).floor().long().clamp(0, texels - 1).unbind(-1)
    return torch.where(found.mask, row * texels + column, -1)
