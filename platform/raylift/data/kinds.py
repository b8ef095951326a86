"""The two kinds of data set, shapes and image collections: all that preparing and reading them do differently."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pyarrow as pa

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import SampleRequest
from raylift.data import samples
from raylift.data.annotations import Annotations, joined_annotations
from raylift.data.dataset import OBJECTS_NAME, VIEWS_NAME, ShardedDataset
from raylift.data.image_inspection import collection_problems
from raylift.data.image_schemas import IMAGE_PAYLOAD_VERSION, IMAGE_SCHEMA_VERSION, images_schema
from raylift.data.images import IMAGES_NAME, load_image
from raylift.data.ingest_config import ImageIngestConfig, IngestConfig, PrepareConfig
from raylift.data.manifest import DataKind
from raylift.data.pictures import Picture
from raylift.data.schemas import PAYLOAD_VERSION, SCHEMA_VERSION, objects_schema, views_schema
from raylift.data.sources.base import AnySource, ImageSource, LoadedImage, LoadedScene, SourceItem


@dataclass(frozen=True)
class Payload:
    """What is kept of one item.

    Attributes:
        tables: the rows of each table.
        num_views: its images.
        notes: what is imperfect about it.
        body: of a mesh: what its body measures, by which copies are recognised; see ``data.bodies``.
    """

    tables: tuple[list[dict[str, Any]], ...]
    caption: str
    num_views: int
    notes: tuple[str, ...]
    body: tuple[float, ...] = ()


class Kind(ABC):
    """One kind of data set."""

    name: ClassVar[DataKind]
    schema_version: ClassVar[int]

    @abstractmethod
    def identity(self, config: PrepareConfig, annotations: Annotations) -> list[Any]:
        """What its settings contribute to the fingerprint, as JSON."""

    @abstractmethod
    def tables(self, config: PrepareConfig) -> tuple[tuple[str, pa.Schema], ...]:
        """File name pattern and schema of the tables of a shard."""

    @abstractmethod
    def sigmas(self, config: PrepareConfig) -> tuple[float, ...]:
        """Noise levels of supervised points."""

    @abstractmethod
    def make(self, item: SourceItem, source: AnySource, config: PrepareConfig) -> Payload:
        """Read and prepare one item.

        Raises:
            DataError: it cannot be used; it says why.
        """

    @abstractmethod
    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> Picture:
        """One stored image.

        Raises:
            DataError: unknown object or view, or a damaged shard.
        """

    @abstractmethod
    def problems(self, dataset: ShardedDataset) -> list[str]:
        """What makes the training split unfit to learn from, in words.

        Raises:
            DataError: a damaged shard.
        """

    @abstractmethod
    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        """The columns of the objects table that the request reads.

        Raises:
            DataError: this kind does not have what is asked for.
        """


class Shapes(Kind):
    """Textured meshes, each with rendered views, supervised points and its truth."""

    name = "shapes"
    schema_version = SCHEMA_VERSION

    def identity(self, config: PrepareConfig, annotations: Annotations) -> list[Any]:
        return [PAYLOAD_VERSION, asdict(config)]

    def tables(self, config: PrepareConfig) -> tuple[tuple[str, pa.Schema], ...]:
        return (OBJECTS_NAME, objects_schema(self.sigmas(config))), (VIEWS_NAME, views_schema())

    def sigmas(self, config: PrepareConfig) -> tuple[float, ...]:
        assert isinstance(config, IngestConfig)
        return config.sigmas

    def make(self, item: SourceItem, source: AnySource, config: PrepareConfig) -> Payload:
        # Here, because renderer and compiled kernels take seconds to import, and every reader imports this file.
        from raylift.data.object_payload import make_payload

        assert isinstance(config, IngestConfig)
        assert not isinstance(source, ImageSource)
        loaded: LoadedScene = source.load(item, config.max_file_mib << 20)
        made = make_payload(item, loaded, source.kind, config)
        return Payload(([made.row], made.views), made.row["caption"], len(made.views), made.notes, made.body)

    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> Picture:
        return dataset.load_view(object_id, view, keep=False).picture()

    def problems(self, dataset: ShardedDataset) -> list[str]:
        count = len(dataset.entries("train"))
        return [] if count > 1 else [f"{count} objects train: give more, or other splits"]

    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        if request.crop is not None and request.crop.mirror and samples.asks_for_shape(request):
            raise ConfigError("mirrored images with points or grids of the shape", "set the crop's mirror to false")
        return samples.needed_columns(request, len(dataset.manifest.sigmas))


class Images(Kind):
    """An image collection: silhouettes, one view an object, no 3D."""

    name = "images"
    schema_version = IMAGE_SCHEMA_VERSION

    def identity(self, config: PrepareConfig, annotations: Annotations) -> list[Any]:
        return ["images", IMAGE_PAYLOAD_VERSION, asdict(config), annotations.to_dict()]

    def tables(self, config: PrepareConfig) -> tuple[tuple[str, pa.Schema], ...]:
        return ((IMAGES_NAME, images_schema()),)

    def sigmas(self, config: PrepareConfig) -> tuple[float, ...]:
        return ()

    def make(self, item: SourceItem, source: AnySource, config: PrepareConfig) -> Payload:
        from raylift.data.image_payload import make_image_row

        assert isinstance(config, ImageIngestConfig)
        assert isinstance(source, ImageSource)
        loaded: LoadedImage = source.load(item, config.max_file_mib << 20, config.max_megapixels * 10**6)
        row = make_image_row(item, loaded, source.kind, source.annotations(), config)
        return Payload(([row],), row["caption"], 1, loaded.notes)

    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> Picture:
        if view != 0:
            raise DataError(f"{object_id} has no view {view}", "an image collection has one view an object")
        return load_image(dataset, object_id).picture(dataset.manifest.annotations, with_truth)

    def problems(self, dataset: ShardedDataset) -> list[str]:
        return collection_problems(dataset)

    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        if samples.asks_for_shape(request):
            raise DataError(
                f"{dataset.uri} is an image collection: it has no shapes, depths or points to train or score on",
                "use a recipe that learns from images alone, or a data set of shapes",
            )
        for asked, names, what in (
            (request.keypoints, dataset.manifest.annotations.keypoint_names, "keypoints"),
            (request.parts, dataset.manifest.annotations.part_names, "part maps"),
        ):
            if asked and not names:
                raise DataError(f"{dataset.uri} has no {what}", f"use a data set or a recipe without {what}")
        return []


KINDS: dict[DataKind, Kind] = {"shapes": Shapes(), "images": Images()}


def kind_of(dataset: ShardedDataset) -> Kind:
    """The kind of a prepared data set."""
    return KINDS[dataset.manifest.kind]


def kind_to_make(config: PrepareConfig) -> Kind:
    """The kind that a configuration prepares."""
    return KINDS["images" if isinstance(config, ImageIngestConfig) else "shapes"]


def annotations_of(kind: Kind, sources: tuple[AnySource, ...]) -> Annotations:
    """The annotations of a set to be made; sources of the other kind are refused.

    Raises:
        DataError: a source delivers the other kind, or two have different keypoints.
    """
    for source in sources:
        if isinstance(source, ImageSource) != (kind.name == "images"):
            raise DataError(
                f"source {source.kind} does not deliver {kind.name}",
                "prepare image collections and meshes apart, each with its own settings",
            )
    return joined_annotations([source.annotations() for source in sources if isinstance(source, ImageSource)])
