"""Training objects that models keep: which, how many, and what of them."""

from __future__ import annotations

from dataclasses import replace

import torch

from raylift.config.data import DataConfig
from raylift.core.examples import ExampleRequest
from raylift.data.feed.examples import load_examples
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset


def test_examples_are_the_training_split_s_shapes(tiny: ShardedDataset) -> None:
    request = ExampleRequest(num_views=3, silhouette_px=24, num_points=50)
    examples = load_examples(tiny, DataConfig(), request)
    entries = tiny.entries("train")
    assert set(examples.samples) == {entry.id for entry in entries}
    assert examples.silhouettes.shape == (3 * len(entries), 24, 24)
    assert examples.owners.tolist() == [index for index in range(len(entries)) for _ in range(3)]
    for index, entry in enumerate(entries):
        record = load_object(tiny, entry.id)
        torch.testing.assert_close(examples.sdf[index], torch.from_numpy(record.sdf32))
        extent = examples.points[index].abs().amax(0)
        assert bool((extent <= torch.from_numpy(record.surface_points).abs().amax(0)).all())
        whole = torch.from_numpy(load_view(tiny, entry.id, 0).rgba[..., 3] / 255.0).mean()
        assert abs(float(examples.silhouettes[3 * index].mean() - whole)) < 1e-3
    again = load_examples(tiny, DataConfig(), request)
    assert torch.equal(examples.points, again.points)


def test_a_large_split_is_thinned_evenly_and_every_sample_still_knows_its_body(tiny: ShardedDataset) -> None:
    entries = tiny.entries("train")
    examples = load_examples(tiny, DataConfig(), ExampleRequest(num_objects=3, num_views=1))
    assert len(examples.sdf) == 3
    assert len(examples.samples) == len(entries)
    kept = [entries[index * len(entries) // 3].id for index in range(3)]
    assert examples.bodies.tolist() == [examples.samples[name] for name in kept]


def test_objects_of_one_group_are_one_body(tiny: ShardedDataset) -> None:
    entries = tuple(
        replace(entry, group="one" if index < 4 else entry.id) for index, entry in enumerate(tiny.entries())
    )
    grouped = ShardedDataset(tiny.storage, replace(tiny.manifest, entries=entries))
    examples = load_examples(grouped, DataConfig(), ExampleRequest(num_views=1))
    ones = [entry.id for entry in grouped.entries("train") if entry.group == "one"]
    assert len(ones) > 1
    assert len({examples.samples[name] for name in ones}) == 1
