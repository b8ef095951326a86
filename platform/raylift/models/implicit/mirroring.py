"""Mirrors training samples: object, camera and images. In the canonical frame this is exact.

With F = diag(-1, 1, 1): F (R x + t) = (F R F) (F x) + F t, so a camera with F R F, F t and a negated u of the principal
point sees the mirrored object as the mirrored image.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload
from raylift.core.generators import torch_generator
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera
from raylift.models.implicit.view import mirrored_points

_PICTURES = ("image", "mask", "depth", "mask_distance")
_POINTS = ("points", "told_points")
_GRIDS = ("voxels",)
_SAME = ("sdf", "color", "told_colors")


def drawn_mirrors(batch: Batch, step_info: StepInfo) -> Bool[Tensor, "B"]:
    """Choose the samples to mirror: half of them, keyed by (seed, step, sample)."""
    coins = [
        torch.rand((), generator=torch_generator(step_info.seed, step_info.step, key, "mirror")) < 0.5
        for key in numbers_of(batch.keys)
    ]
    return upload(torch.stack(coins), batch.keys.device)


def mirrored(batch: Batch, which: Bool[Tensor, "B"]) -> Batch:
    """Mirror some samples of the batch; an unknown field is an error, not passed through."""
    fields = dict(batch.fields)
    for name, value in batch.fields.items():
        if name not in _SAME:
            fields[name] = value.clone()
            fields[name][which] = _flipped(name, value[which])
    assert batch.camera is not None
    return replace(batch, fields=fields, camera=_mirrored_camera(batch.camera, which))


def _flipped(name: str, value: Tensor) -> Tensor:
    if name in _PICTURES:
        return value.flip(-1)
    if name in _POINTS:
        return mirrored_points(value)
    if name in _GRIDS:
        return value.flip(2)
    raise AssertionError(f"unknown field {name!r}: define how to mirror it")


def _mirrored_camera(camera: Camera, which: Tensor) -> Camera:
    ones = camera.rotation.new_ones(len(which), 3)
    ones[which, 0] = -1.0
    return replace(
        camera,
        principal=camera.principal * ones[:, :2],
        rotation=camera.rotation * ones[:, :, None] * ones[:, None, :],
        translation=camera.translation * ones,
    )
