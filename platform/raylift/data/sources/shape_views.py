"""Single views of the objects in a prepared data set of shapes: images with known ground truth, for scoring."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from raylift.core.errors import ConfigError
from raylift.core.generators import numpy_generator
from raylift.core.storage import Storage
from raylift.data.shapes.record import load_object, load_view
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.image_reading import caption_of
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import MANIFEST_NAME, ObjectEntry


@source(
    "shapes",
    delivers="images",
    help="a view per object of a data set of shapes; shapes:FOLDER#4: four",
)
@dataclass(frozen=True)
class ShapeViewsSource:
    """Random views of each object, drawn by (seed, id); groups and splits are those of the shapes.

    An image's camera and a reference to its shape are stored for scoring only: neither is in a training batch.

    Attributes:
        uri: data set's folder or s3:// prefix, absolute.
        seed: seed of the draw.
        views_per_object: images per object (fewer if it has fewer views). A single image has the object's id, several
            are ``id@0``, ``id@1`` and so on.
    """

    uri: str
    seed: int = 0
    views_per_object: int = 1
    kind: str = "shapes"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A prepared data set."""
        manifest = path / MANIFEST_NAME
        return manifest.is_file() and "entries" in json.loads(manifest.read_bytes() or "{}")

    @staticmethod
    def open(place: str, seed: int) -> ShapeViewsSource:
        """The source of ``FOLDER`` or ``FOLDER#VIEWS``."""
        uri, separator, number = place.rpartition("#")
        if not separator:
            return ShapeViewsSource(Storage.at(place).uri, seed)
        if not number.isdigit() or not int(number):
            raise ConfigError(f"--source shapes:{place}: {number!r} is not a count", "use shapes:data/seats#4")
        return ShapeViewsSource(Storage.at(uri).uri, seed, int(number))

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        dataset = _opened(self.uri)
        items: list[SourceItem] = []
        for entry in dataset.entries():
            record = load_object(dataset, entry.id, ("name", "licence", "creator"))
            for place, view in enumerate(self._views(entry)):
                items.append(
                    ImageItem(
                        id=entry.id if self.views_per_object == 1 else f"{entry.id}@{place}",
                        name=record.text("name"),
                        category=entry.category,
                        reference=f"{entry.id}#{view}",
                        licence=record.text("licence"),
                        creator=record.text("creator"),
                        split=entry.split,
                        stamp=dataset.manifest.fingerprint,
                        caption=entry.caption,
                        group=entry.group or entry.id,
                    )
                )
        return items

    def _views(self, entry: ObjectEntry) -> list[int]:
        draws = numpy_generator(self.seed, entry.id, "single view")
        if self.views_per_object == 1:
            return [int(draws.integers(entry.num_views))]
        return [int(view) for view in draws.permutation(entry.num_views)[: self.views_per_object]]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        object_id, _, view = item.reference.rpartition("#")
        stored = load_view(_opened(self.uri), object_id, int(view))
        return LoadedImage(
            stored.rgba,
            caption_of(item.caption, item.name),
            camera=stored.camera,
            truth=item.reference,
            truth_data=self.uri,
        )


@lru_cache(maxsize=4)
def _opened(uri: str) -> ShardedDataset:
    return ShardedDataset.open(uri, cache_bytes=256 << 20)
