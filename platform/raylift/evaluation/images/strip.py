"""The strip of an image: input, reconstruction from its own camera, and turned views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from raylift.core.types import Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.images.record import load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import cropped_pixels, draw_crop
from raylift.evaluation.color import render_masked
from raylift.evaluation.strips import Strip, on_white, to_bytes
from raylift.geometry.cameras import orbit_rotations

TURNS_DEG = (-45.0, 45.0, 180.0)
"""Turns of the object about its own up axis for novel views; a positive turn shows more of its +X side."""


def turned(camera: Camera, degrees: Sequence[float]) -> Camera:
    """Cameras that see the object turned about the world's up axis, otherwise unchanged.

    Args:
        camera: B = 1.
        degrees: turns; a positive turn moves the camera towards +X, seen from the front, like azimuths.
    """
    count = len(degrees)
    front = orbit_rotations(torch.zeros(count), torch.zeros(count))
    turns = front.mT @ orbit_rotations(torch.tensor(list(degrees)), torch.zeros(count))
    repeated = camera[torch.zeros(count, dtype=torch.int64)]
    return replace(repeated, rotation=repeated.rotation @ turns.to(repeated.rotation))


def image_strip(
    dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int = 128
) -> Strip:
    """The strip of an image: input | reconstruction from its own camera | turned by each of ``TURNS_DEG``.

    Returns:
        uint8 [image_px, (2 + turns) * image_px, 3].
    """
    cameras = Camera.stack([found.camera, turned(found.camera, TURNS_DEG)])
    columns = [on_white(image_input(dataset, wanted, found.id), image_px)]
    columns += [image.rgb for image in render_masked(mesh, cameras, image_px)]
    return to_bytes(np.concatenate(columns, axis=1))


def image_input(dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Strip:
    """An image of a collection, RGBA, cropped as in the evaluation of a model that requests ``wanted`` samples."""
    record = load_image(dataset, sample.rpartition("#")[0])
    if wanted.crop is None:
        return record.rgba
    window = draw_crop(record.object_box, replace(wanted.crop, jitter=0.0, mirror=False), None)
    return cropped_pixels(record.rgba, window, max(1, round(window.half * record.rgba.shape[0])))
