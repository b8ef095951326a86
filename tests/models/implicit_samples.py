"""Synthetic samples with a true distance, colour and camera: spheres, seen from the front."""

from __future__ import annotations

import numpy as np
import torch

from raylift.core.step_info import StepInfo
from raylift.core.types import GRID_HALF_EXTENT, Batch, Camera
from raylift.data.store.stored_view import mask_distance
from raylift.geometry.cameras import orbit, pixel_rays, to_camera_axes
from raylift.models.implicit.config import (
    ConditioningConfig,
    FourierConfig,
    ImplicitConfig,
    ImplicitWeights,
    PriorConfig,
    ReadsConfig,
)
from raylift.models.implicit.model import ImplicitModel
from tests.networks import boxes

STEP = StepInfo(step=0, num_steps=1)

READS = ReadsConfig(pixel="rgba", gap=True, plane=True, nearest=True, silhouette=True, mirrored=True)
TOLD = ReadsConfig(
    pixel="rgba", nearest=True, direction=True, plane=True, neighbors=6, silhouette=True, sides=True, mirrored=True
)
VARIANTS: dict[str, dict[str, object]] = {
    "image": {"conditioning": ConditioningConfig("image")},
    "visible": {"conditioning": ConditioningConfig("visible", resolution=16)},
    "visible-occupancy": {"conditioning": ConditioningConfig("visible", "occupancy", resolution=16)},
    "surface": {"conditioning": ConditioningConfig("surface", resolution=16, num_points=300)},
    "gt_occupancy": {"conditioning": ConditioningConfig("gt_occupancy", resolution=16)},
    "gt_sdf": {"conditioning": ConditioningConfig("gt_sdf", resolution=16)},
    "residual": {"conditioning": ConditioningConfig("gt_sdf", resolution=16), "residual": True},
    "authors": {
        "conditioning": ConditioningConfig("visible", density="of_maximum", resolution=16),
        "reads": ReadsConfig(pixel="rgb"),
    },
    "reads": {
        "conditioning": ConditioningConfig("visible", "gap", resolution=16),
        "encoder_inputs": "rgbad",
        "encoder_px": 16,
        "colors": "mixed",
        "mirror": True,
        "reads": READS,
        "weights": ImplicitWeights(sign=0.25, color_near=0.05),
    },
    "reads-no-maps": {
        "conditioning": ConditioningConfig("visible", "none"),
        "backbone": "none",
        "colors": "mixed",
        "reads": READS,
    },
    "told": {
        "conditioning": ConditioningConfig("surface", "distance", resolution=16, num_points=120),
        "colors": "mixed",
        "mirror": True,
        "reads": TOLD,
        "voxel_offset": 0.03,
        "weights": ImplicitWeights(sign=0.25, color_near=0.05),
    },
    "told-no-maps": {
        "conditioning": ConditioningConfig("surface", "none", num_points=120),
        "backbone": "none",
        "colors": "mixed",
        "reads": ReadsConfig(pixel="rgb", nearest=True),
    },
    "members": {
        "conditioning": ConditioningConfig("visible", "gap", resolution=16),
        "backbone": "none",
        "members": 2,
        "colors": "mixed",
        "reads": ReadsConfig(pixel="rgba", gap=True),
    },
    "prior": {
        "conditioning": ConditioningConfig("image"),
        "mirror": True,
        "prior": PriorConfig(num_neighbors=3),
        "weights": ImplicitWeights(sign=0.25),
    },
    "prior-told-depth": {
        "conditioning": ConditioningConfig("visible", "none"),
        "backbone": "none",
        "mirror": True,
        "reads": ReadsConfig(pixel="rgba"),
        "prior": PriorConfig(num_neighbors=3, depth=True),
    },
}
"""The six conditionings of section 3.3 and table 1, the authors' inputs, and everything that is not the paper's."""


def small_config(variant: str = "visible", **values: object) -> ImplicitConfig:
    """The model with every part in it, as small as it gets."""
    settings: dict[str, object] = {
        "image_px": 32,
        "backbone": "resnet18",
        "image_width": 8,
        "image_features": 8,
        "voxel_width": 4,
        "hidden": 32,
        "points": 40,
        "fourier": FourierConfig(16),
    }
    return ImplicitConfig(**(settings | VARIANTS[variant] | values))  # type: ignore[arg-type]


def small_model(config: ImplicitConfig, seed: int = 0) -> ImplicitModel:
    """The model, with boxes to look up where its recipe looks shapes up."""
    model = ImplicitModel(config, seed)
    if model.example_request is not None:
        model.keep_examples(boxes.examples(num_views=2, num_points=60, resolution=32))
    return model


def spheres(config: ImplicitConfig, count: int, points_seed: int = 0, num_iou_points: int = 0) -> Batch:
    """One sphere a sample, of its own radius, place and colour, with everything that the recipe conditions on.

    The spheres are always the same; ``points_seed`` draws other points.
    """
    draw = torch.Generator().manual_seed(0)
    radius = 0.2 + 0.15 * torch.rand(count, generator=draw)
    center = 0.15 * (2 * torch.rand(count, 3, generator=draw) - 1)
    paint = torch.rand(count, 3, generator=draw)
    camera = Camera.stack([orbit(30.0 * index, 20.0) for index in range(count)])

    def distance(points: torch.Tensor) -> torch.Tensor:
        return (points - center[:, None]).norm(dim=-1) - radius[:, None]

    origins, directions = pixel_rays(camera, config.image_px, config.image_px)
    to_center = center[:, None, None] - origins
    along = (to_center * directions).sum(-1)
    into = radius[:, None, None].square() - (to_center.square().sum(-1) - along.square())
    seen = into > 0
    image = torch.where(seen[:, None], paint[:, :, None, None], torch.ones(()))
    draw = torch.Generator().manual_seed(points_seed)
    points = 1.1 * torch.rand(count, config.points, 3, generator=draw) - GRID_HALF_EXTENT
    fields = {
        "image": image,
        "points": points,
        "sdf": distance(points).clamp(-0.1, 0.1),
        "color": paint[:, None].expand(count, config.points, 3).contiguous(),
    }
    reads = config.reads
    if config.num_told_points:
        ball = torch.randn(count, config.num_told_points, 3, generator=draw)
        fields["told_points"] = center[:, None] + radius[:, None, None] * torch.nn.functional.normalize(ball, dim=-1)
        fields["told_colors"] = paint[:, None].expand_as(ball).contiguous()
    if (
        reads.pixel == "rgba"
        or (reads.nearest and config.needs_depth)
        or config.encoder_inputs != "rgb"
        or config.prior.num_neighbors
    ):
        fields["mask"] = seen[:, None].float()
    if config.needs_depth:
        hit = origins + (along - into.clamp(min=0).sqrt())[..., None] * directions
        depth = to_camera_axes(camera, hit.flatten(1, 2))[..., 2].reshape(seen.shape)
        fields["depth"] = torch.where(seen, depth, 0.0)[:, None]
    if config.needs_mask_distance:
        distances = [mask_distance((255 * own).byte().numpy()) for own in seen]
        fields["mask_distance"] = torch.from_numpy(np.stack(distances))
    request = config.conditioning.voxel_request()
    if request is not None:
        axis = -GRID_HALF_EXTENT + (torch.arange(request.resolution) + 0.5) * 2 * GRID_HALF_EXTENT / request.resolution
        cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(1, -1, 3)
        value = distance(cells.expand(count, -1, 3)).reshape(count, 1, *[request.resolution] * 3)
        channels = [value if request.source == "gt_sdf" else (value < 0).float()]
        if request.num_channels == 4:
            channels.append(channels[0] * paint[:, :, None, None, None])
        fields["voxels"] = torch.cat(channels, 1)
    if num_iou_points:
        fields["iou_points"] = 1.1 * torch.rand(count, num_iou_points, 3, generator=draw) - GRID_HALF_EXTENT
        fields["iou_inside"] = (distance(fields["iou_points"]) < 0).float()
    return Batch(tuple(f"sphere{index}#0" for index in range(count)), torch.arange(count), fields, camera)


def as_double(batch: Batch) -> Batch:
    """The same batch in float64."""
    assert batch.camera is not None
    fields = {name: value.double() for name, value in batch.fields.items()}
    return Batch(batch.ids, batch.keys, fields, batch.camera.to("cpu", torch.float64))
