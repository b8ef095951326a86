"""The manifest: the contents of a prepared data set, how it was made, and checksums to verify it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from raylift.config.codec import read_json
from raylift.core.errors import ConfigError, DataError
from raylift.core.storage import Storage
from raylift.data.store.annotations import Annotations

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
"""Version of the manifest and of the tables of shapes; image collections, added later, have their own."""
READABLE_VERSIONS = (1, 2, 3)
ROWS_PER_GROUP = "raylift.rows_per_group"
"""Metadata of a table whose row groups have a fixed number of rows; otherwise each holds one object."""
SPLITS = ("train", "val", "test")

DataKind = Literal["shapes", "images"]
"""Shapes with rendered views, or an image collection: single images with silhouettes."""


@dataclass(frozen=True)
class ObjectEntry:
    """One object, stored in row group ``row_group`` of the tables of ``shard``.

    Attributes:
        group: group of objects that share a split, such as recoloured copies of one body; empty in data sets prepared
            before groups existed.
    """

    id: str
    category: str
    split: str
    caption: str
    shard: int
    row_group: int
    num_views: int
    group: str = ""


@dataclass(frozen=True)
class ShardFile:
    """A file with its size and SHA-256."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    Attributes:
        entries: objects, ordered by id.
        shards: files of each shard, one per table of the data set's kind.
        settings: ingest configuration that the data set was made with.
        fingerprint: hash of sources, settings and schema version.
        seed: seed of all draws.
        versions: versions of the package and of the libraries that affect the data.
        sigmas: noise levels of the supervised points, in the order of the sample columns.
        set_aside: number of unusable items; ``report.json`` lists them.
        schema_version: version of the tables: 1 for shapes, 3 (formerly 2) for image collections.
        kind: kind of data set.
        annotations: meaning of keypoints and parts, in image collections.
    """

    entries: tuple[ObjectEntry, ...]
    shards: tuple[tuple[ShardFile, ...], ...]
    settings: Mapping[str, Any]
    fingerprint: str
    seed: int
    sigmas: tuple[float, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    set_aside: int = 0
    schema_version: int = SCHEMA_VERSION
    kind: DataKind = "shapes"
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def counts(self) -> dict[str, Any]:
        """Numbers of objects and views, by split and by category."""
        return {
            "objects": len(self.entries),
            "groups": len(set(self.groups.values())),
            "views": sum(entry.num_views for entry in self.entries),
            "set_aside": self.set_aside,
            "by_split": {split: sum(entry.split == split for entry in self.entries) for split in SPLITS},
            "by_category": dict(sorted(Counter(entry.category for entry in self.entries).items())),
        }

    @property
    def groups(self) -> dict[str, str]:
        """The group of each object, by id; each object is its own group in data sets prepared before groups existed."""
        return {entry.id: entry.group or entry.id for entry in self.entries}

    @property
    def splits(self) -> dict[str, str]:
        """The split of each object, by id."""
        return {entry.id: entry.split for entry in self.entries}

    def to_json(self) -> str:
        return json.dumps({"counts": self.counts, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def read(storage: Storage) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            DataError: it is missing, damaged, or of another schema version.
        """
        where = f"{storage.uri}/{MANIFEST_NAME}"
        if storage.size(MANIFEST_NAME) is None:
            raise DataError(
                f"{storage.uri} is not a prepared data set: it has no {MANIFEST_NAME}",
                "run `raylift prepare --source ... --out DIR` first (again, if it was stopped)",
            )
        text = storage.read(MANIFEST_NAME)
        try:
            version = read_json(_Version, text, is_record=True).schema_version
            if version in READABLE_VERSIONS:
                return read_json(Manifest, text, is_record=True)
        except ConfigError as error:
            raise DataError(
                f"{where} is damaged: {error.problem}", "prepare the data set again; finished shards are kept"
            ) from None
        raise DataError(
            f"{where} has schema version {version}, this package reads {', '.join(map(str, READABLE_VERSIONS))}",
            "prepare the data set again",
        )


@dataclass(frozen=True)
class _Version:
    schema_version: int
