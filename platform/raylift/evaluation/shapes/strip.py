"""The strip of a shape's view: input, reconstruction, and other views next to the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raylift.core.types import Camera, Mesh
from raylift.data.shapes.record import ViewRecord, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.color import render_masked
from raylift.evaluation.strips import Strip, on_white, to_bytes

NUM_NOVEL = 2


def draw_strip(view: ViewRecord, mesh: Mesh, novel: Sequence[ViewRecord], image_px: int = 128) -> Strip:
    """The strip of a shape's view: input | reconstruction from the input's camera | for each novel view:
    reconstruction, truth. The novel views are stored views with their cameras.

    Returns:
        uint8 [image_px, (2 + 2 * novel) * image_px, 3].
    """
    cameras = Camera.stack([view.camera, *(other.camera for other in novel)])
    ours = [image.rgb for image in render_masked(mesh, cameras, image_px)]
    columns = [on_white(view.rgba, image_px), ours[0]]
    for other, picture in zip(novel, ours[1:], strict=True):
        columns += [picture, on_white(other.rgba, image_px)]
    return to_bytes(np.concatenate(columns, axis=1))


def shape_strip(dataset: ShardedDataset, sample: str, mesh: Mesh, image_px: int = 128) -> Strip:
    """The strip of a sample, ``object_id#view``; novel views are one and two thirds of the way around."""
    object_id, _, number = sample.rpartition("#")
    count = dataset.entry(object_id).num_views
    around = [(int(number) + (turn + 1) * count // (NUM_NOVEL + 1)) % count for turn in range(NUM_NOVEL)]
    view = load_view(dataset, object_id, int(number))
    return draw_strip(view, mesh, [load_view(dataset, object_id, other) for other in around], image_px)


def shape_input(dataset: ShardedDataset, sample: str) -> Strip:
    """A stored view, RGBA."""
    object_id, _, number = sample.rpartition("#")
    return load_view(dataset, object_id, int(number)).rgba
