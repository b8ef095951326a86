"""Synthetic image collections: coloured ellipsoids, each seen once, with all that the pipeline would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch

from raylift.core.dataset_info import DatasetInfo
from raylift.core.generators import stable_hash
from raylift.core.model import Model
from raylift.core.types import Batch, Camera, Mesh
from raylift.data.store.stored_view import mask_distance, object_colors
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.networks.pose_posterior import PosePosterior
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

NUM_IMAGES = 8
FACTS = DatasetInfo(NUM_IMAGES, keypoint_mirror=(0, 1, 3, 2, 4, 5), part_mirror=(0, 1, 2))
"""Six keypoints (top, bottom, left, right, front, back) and two parts (upper, lower) beside the background."""


@lru_cache(maxsize=4)
def ellipsoids(count: int, image_px: int) -> Batch:
    """Ellipsoids of their own radii and colours, each from an azimuth of its own, as scaled orthographic crops."""
    draws = torch.Generator().manual_seed(3)
    sphere = symmetric_icosphere(2)
    rows: list[dict[str, torch.Tensor]] = []
    names = [f"ellipsoid-{index}#0" for index in range(count)]
    for index in range(count):
        radii = torch.tensor([0.7, 0.6, 1.0]) * (0.85 + 0.3 * torch.rand(3, generator=draws))
        vertices = sphere.vertices * radii
        paint = torch.rand(3, generator=draws)
        colors = (0.5 + sphere.vertices * (0.4 + 0.6 * paint)).clamp(0, 1)
        angles = (torch.tensor([30.0 * index - 60.0]), torch.tensor([10.0]))
        rotation = orbit_rotations(*angles).float()
        camera = Camera(
            torch.full((1, 2), 1.7), torch.zeros(1, 2), rotation, torch.tensor([[0.0, 0.0, 5.0]]), "orthographic"
        )
        picture = render(Mesh(vertices, sphere.faces, colors), camera, image_px, Lighting.ambient())[0]
        mask = torch.from_numpy(picture.alpha)
        tips = torch.tensor([[0, 1, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1.0]]) * radii / 2
        seen = tips @ rotation[0].T
        keypoints = torch.cat([1.7 * seen[:, :2], (seen[:, 2:] < 0.1).float()], dim=1)
        upper = (torch.arange(image_px) < image_px // 2).float()[:, None] * mask
        rgba = (np.concatenate([picture.rgb, picture.alpha[..., None]], axis=-1) * 255).astype(np.uint8)
        rows.append(
            {
                "image": torch.from_numpy(picture.rgb.transpose(2, 0, 1).copy()),
                "mask": mask[None],
                "mask_distance": torch.from_numpy(mask_distance((picture.alpha * 255).astype(np.uint8))),
                "object_colors": torch.from_numpy(object_colors(rgba)) / 255,
                "keypoints": keypoints,
                "parts": torch.stack([1 - mask, upper, mask - upper]),
                "mirrored": torch.tensor(0.0),
                "image_index": torch.tensor(index),
            }
        )
    fields = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return Batch(tuple(names), torch.tensor([stable_hash(name) for name in names]), fields)


def with_poses(model: Model) -> Model:
    """The model as if it started from a pose search that found an ellipsoid; others as they are."""
    network = getattr(model, "network", None)
    poses = getattr(network, "poses", None)
    if isinstance(poses, PosePosterior):
        vertices = poses.vertices * poses.vertices.new_tensor([0.7, 0.6, 1.0])
        values = vertices.new_zeros(len(vertices), poses.config.channels)
        poses.fill(vertices, poses.distance, values, poses.bias, 0.05, 1e-3)
    return model


def as_double(batch: Batch) -> Batch:
    """The same batch in float64; indices stay whole numbers."""
    fields = {name: v.double() if v.is_floating_point() else v for name, v in batch.fields.items()}
    return Batch(batch.ids, batch.keys, fields, batch.camera)


def rows(batch: Batch, picked: list[int]) -> Batch:
    """Some samples of a batch, in the order asked for."""
    return Batch(
        tuple(batch.ids[index] for index in picked),
        batch.keys[picked],
        {name: value[picked] for name, value in batch.fields.items()},
    )


def feed(image_px: int, batch_size: int, num_images: int = NUM_IMAGES) -> Callable[[int, int], Iterator[Batch]]:
    """Global batches that go through the images in order, again and again."""
    whole = ellipsoids(num_images, image_px)

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            yield rows(whole, [row % num_images for row in range(step * batch_size, (step + 1) * batch_size)])

    return batches
