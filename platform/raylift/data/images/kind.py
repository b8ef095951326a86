"""Image collections: silhouettes, one view per object, no 3D."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from raylift.core.errors import DataError
from raylift.core.types import SampleRequest
from raylift.data.feed import samples
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import IMAGES_NAME, load_image
from raylift.data.images.schema import IMAGE_PAYLOAD_VERSION, IMAGE_SCHEMA_VERSION, images_schema
from raylift.data.images.statistics import ImageStatistics, collection_problems, image_statistics
from raylift.data.kind import DatasetKind, Rows
from raylift.data.sources.base import AnySource, ImageSource, LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.data.store.stored_view import StoredView


class Images(DatasetKind[ImagesConfig]):
    """An image collection: silhouettes, one view per object, no 3D."""

    name = "images"
    schema_version = IMAGE_SCHEMA_VERSION

    def identity(self, config: ImagesConfig, annotations: Annotations) -> list[Any]:
        return ["images", IMAGE_PAYLOAD_VERSION, asdict(config), annotations.to_dict()]

    def tables(self, config: ImagesConfig) -> tuple[tuple[str, pa.Schema], ...]:
        return ((IMAGES_NAME, images_schema()),)

    def sigmas(self, config: ImagesConfig) -> tuple[float, ...]:
        return ()

    def make(self, item: SourceItem, source: AnySource, config: ImagesConfig) -> Rows:
        from raylift.data.images.ingest import make_row

        assert isinstance(source, ImageSource)
        loaded: LoadedImage = source.load(item, config.max_file_mib << 20, config.max_megapixels * 10**6)
        row = make_row(item, loaded, source.kind, source.annotations(), config)
        return Rows(([row],), row["caption"], 1, loaded.notes)

    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> StoredView:
        if view != 0:
            raise DataError(f"{object_id} has no view {view}", "an image collection has one view per object")
        return load_image(dataset, object_id).picture(dataset.manifest.annotations, with_truth)

    def problems(self, dataset: ShardedDataset) -> list[str]:
        return collection_problems(dataset)

    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        if samples.asks_for_shape(request):
            raise DataError(
                f"{dataset.uri} is an image collection: it has no shapes, depth or points to train or score on",
                "use a recipe that trains on images alone, or a data set of shapes",
            )
        for asked, names, what in (
            (request.keypoints, dataset.manifest.annotations.keypoint_names, "keypoints"),
            (request.parts, dataset.manifest.annotations.part_names, "part maps"),
        ):
            if asked and not names:
                raise DataError(f"{dataset.uri} has no {what}", f"use a data set or a recipe without {what}")
        return []

    def statistics(self, dataset: ShardedDataset, entry: ObjectEntry) -> ImageStatistics:
        return image_statistics(dataset, entry)
