"""Training objects that models may keep: shapes, points on them, and silhouettes of their views."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from raylift.config.data import DataConfig
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.generators import numpy_generator
from raylift.data.feed.stream import category_names, chosen_entries
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset


def load_examples(dataset: ShardedDataset, config: DataConfig, request: ExampleRequest) -> Examples:
    """Load objects evenly spread over the training split, the same for every rank and run.

    Raises:
        DataError: no training object, or a damaged shard.
    """
    entries = chosen_entries(dataset, "train", config)
    numbers: dict[str, int] = {}
    samples = {entry.id: numbers.setdefault(entry.group or entry.id, len(numbers)) for entry in entries}
    categories = category_names(dataset, config)
    kept = [entries[index] for index in _spread(request.num_objects, len(entries))]
    grids, points, silhouettes, owners = [], [], [], []
    for place, entry in enumerate(kept):
        record = load_object(dataset, entry.id, ("sdf32", "surface_points"))
        grids.append(record.sdf32)
        rows = numpy_generator(0, entry.id, "example points").integers(
            0, len(record.stored("surface_points")), request.num_points
        )
        points.append(record.picked("surface_points", rows))
        for view in _spread(request.num_views, entry.num_views):
            rgba = load_view(dataset, entry.id, view, keep=False).rgba
            coverage = torch.from_numpy(rgba[..., 3].astype(np.float32) / 255)
            silhouettes.append(functional.adaptive_avg_pool2d(coverage[None], request.silhouette_px)[0])
            owners.append(place)
    return Examples(
        torch.from_numpy(np.stack(grids)),
        torch.from_numpy(np.stack(points)),
        torch.stack(silhouettes),
        torch.tensor(owners),
        torch.tensor([samples[entry.id] for entry in kept]),
        samples,
        tuple(entry.id for entry in kept),
        {entry.id: categories.index(entry.category) for entry in entries},
    )


def _spread(count: int, total: int) -> list[int]:
    """At most ``count`` of ``total`` indices, evenly spaced."""
    count = min(count, total)
    return [index * total // count for index in range(count)]
