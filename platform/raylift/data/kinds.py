"""The kinds of data set: shapes and image collections."""

from __future__ import annotations

from typing import Any

from raylift.core.errors import DataError
from raylift.data.images.kind import Images
from raylift.data.kind import DatasetKind
from raylift.data.prepare.config import PrepareConfig
from raylift.data.shapes.kind import Shapes
from raylift.data.sources.base import AnySource, ImageSource
from raylift.data.store.annotations import Annotations, joined_annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import DataKind

KINDS: dict[DataKind, DatasetKind[Any]] = {"shapes": Shapes(), "images": Images()}


def kind_of(dataset: ShardedDataset) -> DatasetKind[Any]:
    """The kind of a prepared data set."""
    return KINDS[dataset.manifest.kind]


def kind_to_make(config: PrepareConfig) -> DatasetKind[Any]:
    """The kind that a configuration prepares."""
    return KINDS[config.kind]


def annotations_of(kind: DatasetKind[Any], sources: tuple[AnySource, ...]) -> Annotations:
    """The annotations of a data set to be prepared; all sources must deliver its kind.

    Raises:
        DataError: a source delivers the other kind, or two sources have different keypoints.
    """
    for source in sources:
        if isinstance(source, ImageSource) != (kind.name == "images"):
            raise DataError(
                f"source {source.kind} does not deliver {kind.name}",
                "prepare image collections and meshes separately, each with its own settings",
            )
    return joined_annotations([source.annotations() for source in sources if isinstance(source, ImageSource)])
