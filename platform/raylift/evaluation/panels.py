"""Pictures to look at: input beside reconstruction beside truth, and turntables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from raylift.core.family import Family
from raylift.core.types import Camera, Mesh
from raylift.data.config import DataConfig
from raylift.data.dataset import ShardedDataset, ViewRecord
from raylift.data.samples import composited
from raylift.data.stream import evaluation_batches
from raylift.evaluation.evaluator import mesh_of
from raylift.geometry.cameras import orbit, orbit_rotations
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render

Picture = UInt8[np.ndarray, "H W 3"]
NUM_NOVEL = 2


@dataclass(frozen=True)
class Panel:
    """One sample's strip: input | reconstruction as the input sees it | for each novel view: reconstruction, truth."""

    id: str
    picture: Picture
    mesh: Mesh


def draw_strip(view: ViewRecord, mesh: Mesh, novel: Sequence[ViewRecord], image_px: int = 128) -> Picture:
    """The strip of a panel; the novel views are the truth's own pictures with their cameras.

    Returns:
        uint8 [image_px, (2 + 2 * novel) * image_px, 3].
    """
    cameras = Camera.stack([view.camera, *(other.camera for other in novel)])
    ours = [rendering.rgb for rendering in render(mesh, cameras, image_px, Lighting.ambient())]
    columns = [_on_white(view, image_px), ours[0]]
    for other, picture in zip(novel, ours[1:], strict=True):
        columns += [picture, _on_white(other, image_px)]
    return _to_bytes(np.concatenate(columns, axis=1))


def draw_panels(
    family: Family,
    dataset: ShardedDataset,
    split: str,
    data: DataConfig,
    count: int,
    resolution: int = 64,
    image_px: int = 128,
    seed: int = 0,
) -> list[Panel]:
    """Panels of the first ``count`` held-out objects: the same ones every time, so that they show progress.

    Raises:
        DataError: no objects of that split.
    """
    was_training = family.training
    family.eval()
    panels: list[Panel] = []
    try:
        request = replace(family.request, num_points=0)
        device = next(family.parameters()).device
        one_view = replace(data, eval_views=1)
        with torch.no_grad():
            for batch in evaluation_batches(dataset, request, split, one_view, seed, batch_size=1):
                if len(panels) >= count:
                    break
                found = family.reconstruct(batch.to(device))[0]
                mesh = mesh_of(found, resolution)
                if family.is_registered:
                    picture = strip_of(dataset, batch.ids[0], mesh, image_px)
                else:
                    picture = own_strip(batch["image"][0], mesh, found.camera.to("cpu"), image_px)
                panels.append(Panel(batch.ids[0], picture, mesh))
    finally:
        family.train(was_training)
    return panels


def own_strip(image: Float[Tensor, "3 H W"], mesh: Mesh, camera: Camera, image_px: int = 128) -> Picture:
    """Input | reconstruction by its own camera | the same turned by a quarter, a half and three quarters.

    Args:
        camera: B = 1.

    Returns:
        uint8 [image_px, 5 * image_px, 3].
    """
    turns = torch.tensor([0.0, 90.0, 180.0, 270.0])
    around = orbit_rotations(turns, torch.zeros(4)).to(camera.rotation.dtype)
    # Relative to the first, an orbit's rotation turns the world about its vertical.
    cameras = replace(Camera.stack([camera] * 4), rotation=camera.rotation @ around[:1].mT @ around)
    pictures = [rendering.rgb for rendering in render(mesh, cameras, image_px, Lighting.ambient())]
    given = functional.interpolate(image[None].cpu(), (image_px, image_px), mode="bilinear", antialias=True)[0]
    return _to_bytes(np.concatenate([given.permute(1, 2, 0).numpy(), *pictures], axis=1))


def strip_of(dataset: ShardedDataset, sample: str, mesh: Mesh, image_px: int = 128) -> Picture:
    """The strip of a sample, ``object_id#view``; novel views are a third and two thirds of the way around."""
    object_id, _, number = sample.rpartition("#")
    count = dataset.entry(object_id).num_views
    around = [(int(number) + (turn + 1) * count // (NUM_NOVEL + 1)) % count for turn in range(NUM_NOVEL)]
    view = dataset.load_view(object_id, int(number))
    return draw_strip(view, mesh, [dataset.load_view(object_id, other) for other in around], image_px)


def turntable(mesh: Mesh, num_frames: int = 36, image_px: int = 192, elevation_deg: float = 20.0) -> list[Picture]:
    """Frames of a mesh turning once around."""
    cameras = Camera.stack([orbit(360.0 * frame / num_frames, elevation_deg) for frame in range(num_frames)])
    return [_to_bytes(rendering.rgb) for rendering in render(mesh, cameras, image_px, Lighting.ambient())]


def write_animation(frames: Sequence[Picture], path: Path, frame_ms: int = 80) -> None:
    """Frames as an endless GIF or WebP, by the path's ending."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=frame_ms, loop=0)


def stack_panels(panels: Sequence[Panel]) -> Picture:
    """Strips above one another."""
    return np.concatenate([panel.picture for panel in panels], axis=0)


def _on_white(view: ViewRecord, image_px: int) -> np.ndarray:
    return composited(view.rgba, image_px)[0].transpose(1, 2, 0)


def _to_bytes(picture: np.ndarray) -> Picture:
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
