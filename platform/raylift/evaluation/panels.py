"""Image panels of held-out samples, and turntables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from raylift.config.data import DataConfig
from raylift.core.model import ReconstructionModel
from raylift.core.types import Camera, Mesh, Reconstruction, SampleRequest
from raylift.data.feed.stream import evaluation_batches
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.color import render_masked
from raylift.evaluation.kinds import evaluation_of
from raylift.evaluation.meshes import mesh_of
from raylift.evaluation.samples import eval_mode
from raylift.evaluation.strips import Strip, to_bytes
from raylift.geometry.cameras import orbit


@dataclass(frozen=True)
class Panel:
    """One sample.

    Attributes:
        picture: strip: input | reconstruction from the input's camera | other views (see ``evaluation.strips``).
        mesh: reconstructed mesh.
        camera: camera of the reconstruction.
        source: input as the model saw it, RGBA.
    """

    id: str
    picture: Strip
    mesh: Mesh
    camera: Camera
    source: Strip


def panel_of(
    dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int = 128
) -> Panel:
    """The panel of a reconstruction.

    Args:
        wanted: sample request of the model; it decides the crop.
        found: reconstruction, with its camera and the sample id.
        mesh: reconstructed surface, on the CPU.
    """
    kind = evaluation_of(dataset)
    found = replace(found, camera=found.camera.to("cpu"))
    strip = kind.strip(dataset, wanted, found, mesh, image_px)
    return Panel(found.id, strip, mesh, found.camera, kind.input_of(dataset, wanted, found.id))


def draw_panels(
    model: ReconstructionModel,
    dataset: ShardedDataset,
    split: str,
    data: DataConfig,
    count: int,
    resolution: int = 64,
    image_px: int = 128,
    seed: int = 0,
) -> list[Panel]:
    """Panels of the first ``count`` held-out objects: always the same ones, so that they show progress.

    Raises:
        DataError: no objects of that split.
    """
    panels: list[Panel] = []
    with eval_mode(model) as device:
        request = replace(model.request, num_points=0)
        one_view = replace(data, eval_views=1)
        for batch in evaluation_batches(dataset, request, split, one_view, seed, batch_size=1):
            if len(panels) >= count:
                break
            found = replace(model.reconstruct(batch.to(device))[0], id=batch.ids[0])
            panels.append(panel_of(dataset, request, found, mesh_of(found, resolution), image_px))
    return panels


def turntable(mesh: Mesh, num_frames: int = 36, image_px: int = 192, elevation_deg: float = 20.0) -> list[Strip]:
    """Frames of a mesh turning once around, scaled to fit the image."""
    cameras = Camera.stack([orbit(360.0 * frame / num_frames, elevation_deg) for frame in range(num_frames)])
    return [to_bytes(image.rgb) for image in render_masked(_within_unit_box(mesh), cameras, image_px)]


def write_animation(frames: Sequence[Strip], path: Path, frame_ms: int = 80) -> None:
    """Write frames as an endlessly looping GIF or WebP, by the path's suffix."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=frame_ms, loop=0)


def stack_panels(panels: Sequence[Panel]) -> Strip:
    """Stack strips vertically."""
    return np.concatenate([panel.picture for panel in panels], axis=0)


def _within_unit_box(mesh: Mesh) -> Mesh:
    """Move and shrink a mesh into the unit cube if it exceeds it: models trained on images alone know no size."""
    if mesh.is_empty or float(mesh.vertices.abs().max()) <= 0.55:
        return mesh
    low, high = mesh.vertices.amin(dim=0), mesh.vertices.amax(dim=0)
    return replace(mesh, vertices=(mesh.vertices - (low + high) / 2) / (high - low).max())
