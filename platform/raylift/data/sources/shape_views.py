"""One view of each object of a prepared data set of shapes: images whose truth is known, for scoring."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from raylift.core.generators import numpy_generator
from raylift.data.annotations import Annotations
from raylift.data.dataset import ShardedDataset
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.image_reading import caption_of


@dataclass(frozen=True)
class ShapeViewsSource:
    """A random view an object, drawn for (seed, id); splits are those of the shapes.

    Its camera is kept for scoring only, and of the shape a reference: neither is in a training batch.

    Attributes:
        uri: the data set's folder or s3:// prefix, absolute.
        seed: of the draw.
    """

    uri: str
    seed: int = 0
    kind: str = "shapes"

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        dataset = _opened(self.uri)
        items: list[SourceItem] = []
        for entry in dataset.entries():
            view = int(numpy_generator(self.seed, entry.id, "single view").integers(entry.num_views))
            record = dataset.load_object(entry.id, ("name", "licence", "creator"))
            items.append(
                ImageItem(
                    id=entry.id,
                    name=record.text("name"),
                    category=entry.category,
                    reference=f"{entry.id}#{view}",
                    licence=record.text("licence"),
                    creator=record.text("creator"),
                    split=entry.split,
                    stamp=dataset.manifest.fingerprint,
                    caption=entry.caption,
                    group=entry.group,
                )
            )
        return items

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        object_id, _, view = item.reference.rpartition("#")
        stored = _opened(self.uri).load_view(object_id, int(view))
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
