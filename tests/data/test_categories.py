"""What a model is told of the training objects: their number, and the categories of those it keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raylift.config.data import DataConfig
from raylift.core.errors import DataError
from raylift.core.examples import ExampleRequest
from raylift.data.feed.examples import load_examples
from raylift.data.feed.stream import dataset_info
from raylift.data.store.dataset import ShardedDataset


@pytest.fixture
def mixed(tiny: ShardedDataset) -> ShardedDataset:
    """The chairs, renamed: stools and chairs in turn."""
    entries = tuple(
        replace(entry, category="stool" if index % 3 == 0 else "chair") for index, entry in enumerate(tiny.entries())
    )
    return ShardedDataset(tiny.storage, replace(tiny.manifest, entries=entries))


def test_a_model_is_told_the_number_of_training_objects(mixed: ShardedDataset) -> None:
    assert dataset_info(mixed, DataConfig()).num_objects == len(mixed.entries("train"))
    assert dataset_info(mixed, DataConfig(max_objects=2)).num_objects == 2


def test_kept_objects_have_their_names_and_every_training_object_its_category(mixed: ShardedDataset) -> None:
    examples = load_examples(mixed, DataConfig(), ExampleRequest(num_views=1))
    names = dataset_info(mixed, DataConfig()).categories
    with pytest.raises(DataError, match="has no category 'chairs'") as refused:
        dataset_info(mixed, DataConfig(categories=(names[0], "chairs")))
    assert refused.value.remedy
    assert examples.ids == tuple(entry.id for entry in mixed.entries("train"))
    assert {name: names[index] for name, index in examples.categories.items()} == {
        entry.id: entry.category for entry in mixed.entries("train")
    }
    few = load_examples(mixed, DataConfig(), ExampleRequest(num_objects=2, num_views=1))
    assert len(few.ids) == len(few.sdf) == 2
    assert few.categories == examples.categories
