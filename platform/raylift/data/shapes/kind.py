"""Data sets of shapes: textured meshes with rendered views, supervised points and ground truth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from raylift.core.errors import ConfigError
from raylift.core.types import SampleRequest
from raylift.data.feed import samples
from raylift.data.kind import DatasetKind, Rows
from raylift.data.shapes.config import ShapesConfig
from raylift.data.shapes.record import OBJECTS_NAME, PIXELS_NAME, VIEWS_NAME, load_view
from raylift.data.shapes.schema import PAYLOAD_VERSION, PIXELS, objects_schema, pixels_schema, views_schema
from raylift.data.shapes.statistics import ObjectStatistics, object_statistics
from raylift.data.sources.base import AnySource, ImageSource, LoadedScene, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import SCHEMA_VERSION, ObjectEntry
from raylift.data.store.stored_view import StoredView


class Shapes(DatasetKind[ShapesConfig]):
    """Textured meshes, each with rendered views, supervised points and ground truth."""

    name = "shapes"
    schema_version = SCHEMA_VERSION

    def identity(self, config: ShapesConfig, annotations: Annotations) -> list[Any]:
        settings = asdict(config)
        if config.rotation == "none":
            del settings["rotation"]  # data sets prepared before there was a choice stay what they are
        return [PAYLOAD_VERSION, settings]

    def tables(self, config: ShapesConfig) -> tuple[tuple[str, pa.Schema], ...]:
        objects = (OBJECTS_NAME, objects_schema(self.sigmas(config)))
        return objects, (VIEWS_NAME, views_schema()), (PIXELS_NAME, pixels_schema())

    def sigmas(self, config: ShapesConfig) -> tuple[float, ...]:
        return config.sigmas

    def make(self, item: SourceItem, source: AnySource, config: ShapesConfig) -> Rows:
        # Imported here: the renderer and compiled kernels take seconds to import, and every reader imports this file.
        from raylift.data.shapes.ingest import make_rows

        assert not isinstance(source, ImageSource)
        loaded: LoadedScene = source.load(item, config.max_file_mib << 20)
        made = make_rows(item, loaded, source.kind, config)
        views = [{name: cell for name, cell in row.items() if name not in PIXELS} for row in made.views]
        pixels = [{name: row[name] for name in PIXELS} for row in made.views]
        return Rows(([made.row], views, pixels), made.row["caption"], len(made.views), made.notes, made.body)

    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> StoredView:
        return load_view(dataset, object_id, view, keep=False).picture()

    def problems(self, dataset: ShardedDataset) -> list[str]:
        count = len(dataset.entries("train"))
        return [] if count > 1 else [f"{count} training objects are too few: add objects, or change the splits"]

    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        if request.crop is not None and request.crop.mirror and samples.asks_for_shape(request):
            raise ConfigError(
                "mirrored images do not fit points or grids of the shape", "set the crop's mirror to false"
            )
        return samples.needed_columns(request, len(dataset.manifest.sigmas))

    def statistics(self, dataset: ShardedDataset, entry: ObjectEntry) -> ObjectStatistics:
        return object_statistics(dataset, entry)
