"""Pictures of one sample side by side: the input, the reconstruction as the input sees it, and other views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8

from raylift.core.types import Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.dataset import ShardedDataset, ViewRecord
from raylift.data.images import load_image
from raylift.data.pictures import cropped_pixels, draw_crop
from raylift.data.samples import composited
from raylift.evaluation.color import looks_of
from raylift.geometry.cameras import orbit_rotations

Picture = UInt8[np.ndarray, "H W C"]
NUM_NOVEL = 2
TURNS_DEG = (-45.0, 45.0, 180.0)
"""How far an image's object is turned for novel views, about its own up axis; a positive turn shows more of its +X
side."""


def draw_strip(view: ViewRecord, mesh: Mesh, novel: Sequence[ViewRecord], image_px: int = 128) -> Picture:
    """The strip of a shape's view: input | reconstruction as the input sees it | for each novel view: reconstruction,
    truth. The novel views are the truth's own pictures with their cameras.

    Returns:
        uint8 [image_px, (2 + 2 * novel) * image_px, 3].
    """
    cameras = Camera.stack([view.camera, *(other.camera for other in novel)])
    ours = [look.rgb for look in looks_of(mesh, cameras, image_px)]
    columns = [_on_white(view.rgba, image_px), ours[0]]
    for other, picture in zip(novel, ours[1:], strict=True):
        columns += [picture, _on_white(other.rgba, image_px)]
    return to_bytes(np.concatenate(columns, axis=1))


def shape_strip(dataset: ShardedDataset, sample: str, mesh: Mesh, image_px: int = 128) -> Picture:
    """The strip of a sample, ``object_id#view``; novel views are a third and two thirds of the way around."""
    object_id, _, number = sample.rpartition("#")
    count = dataset.entry(object_id).num_views
    around = [(int(number) + (turn + 1) * count // (NUM_NOVEL + 1)) % count for turn in range(NUM_NOVEL)]
    view = dataset.load_view(object_id, int(number))
    return draw_strip(view, mesh, [dataset.load_view(object_id, other) for other in around], image_px)


def shape_input(dataset: ShardedDataset, sample: str) -> Picture:
    """A stored view, RGBA."""
    object_id, _, number = sample.rpartition("#")
    return dataset.load_view(object_id, int(number)).rgba


def turned(camera: Camera, degrees: Sequence[float]) -> Camera:
    """Cameras that see the object turned about the world's up axis, all else as it was.

    Args:
        camera: B = 1.
        degrees: a positive turn moves the camera towards +X, seen from in front: as azimuths do.
    """
    count = len(degrees)
    front = orbit_rotations(torch.zeros(count), torch.zeros(count))
    turns = front.mT @ orbit_rotations(torch.tensor(list(degrees)), torch.zeros(count))
    repeated = camera[torch.zeros(count, dtype=torch.int64)]
    return replace(repeated, rotation=repeated.rotation @ turns.to(repeated.rotation))


def image_strip(
    dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int = 128
) -> Picture:
    """The strip of an image: input | reconstruction as its own camera sees it | turned by each of ``TURNS_DEG``.

    Returns:
        uint8 [image_px, (2 + turns) * image_px, 3].
    """
    cameras = Camera.stack([found.camera, turned(found.camera, TURNS_DEG)])
    columns = [_on_white(image_input(dataset, wanted, found.id), image_px)]
    columns += [look.rgb for look in looks_of(mesh, cameras, image_px)]
    return to_bytes(np.concatenate(columns, axis=1))


def image_input(dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Picture:
    """An image of a collection, RGBA, cropped as evaluation crops it for a model that wants such samples."""
    record = load_image(dataset, sample.rpartition("#")[0])
    if wanted.crop is None:
        return record.rgba
    window = draw_crop(record.object_box, replace(wanted.crop, jitter=0.0, mirror=False), None)
    return cropped_pixels(record.rgba, window, max(1, round(window.half * record.rgba.shape[0])))


def to_bytes(picture: np.ndarray) -> Picture:
    """From [0, 1] to 8 bits."""
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _on_white(rgba: np.ndarray, image_px: int) -> np.ndarray:
    return composited(rgba, image_px)[0].transpose(1, 2, 0)
