"""Writes a copy of an image collection with part maps; the old data set is left unchanged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raylift.core.errors import DataError
from raylift.core.storage import Storage, explained_write_errors
from raylift.data.images.record import IMAGES_NAME, ImageRecord, record_of
from raylift.data.images.schema import IMAGE_SCHEMA_VERSION, images_schema, pack_parts
from raylift.data.prepare.shards import fingerprint_of
from raylift.data.store.annotations import PartEncoding, mirror_by_name
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import MANIFEST_NAME, Manifest, ShardFile

PartMaker = Callable[[ImageRecord], np.ndarray]
"""Part maps of a stored square, uint8 [P, h, h]: one label map (P = 1), or a probability of 0 to 255 per part."""


def write_part_maps(
    dataset: ShardedDataset,
    out: str | Storage,
    make: PartMaker,
    names: Sequence[str],
    encoding: PartEncoding,
    made_by: str,
) -> Manifest:
    """Write a copy of a data set with part maps; ids, splits and everything else stay the same.

    Args:
        dataset: an image collection.
        out: an empty local folder or s3:// prefix.
        make: called for every image, in the order of the shards.
        names: part names, the background first; left and right ones are exchanged in a mirrored image.
        encoding: encoding of what ``make`` returns.
        made_by: origin of the maps, such as a run id: part of the new data set's fingerprint.

    Raises:
        DataError: the data set is not an image collection, ``out`` already holds a data set, or a map does not fit.
    """
    storage = out if isinstance(out, Storage) else Storage.at(out)
    if dataset.manifest.kind != "images":
        raise DataError(f"{dataset.uri} is not an image collection", "part maps need an image collection")
    if storage.size(MANIFEST_NAME) is not None:
        raise DataError(f"{storage.uri} already holds a data set", "choose an empty folder")
    if storage.is_local:
        Path(storage.uri).mkdir(parents=True, exist_ok=True)
    shards = []
    for index, files in enumerate(dataset.manifest.shards):
        groups = sum(entry.shard == index for entry in dataset.manifest.entries)
        shards.append(() if not files else (_copy_shard(dataset, storage, index, groups, make, len(names), encoding),))
    annotations = replace(
        dataset.manifest.annotations,
        part_names=tuple(names),
        part_mirror=mirror_by_name(names),
        part_encoding=encoding,
    )
    manifest = replace(
        dataset.manifest,
        shards=tuple(shards),
        annotations=annotations,
        fingerprint=fingerprint_of([dataset.manifest.fingerprint, annotations.to_dict(), made_by]),
        settings={**dataset.manifest.settings, "parts": made_by},
        schema_version=IMAGE_SCHEMA_VERSION,
    )
    storage.write(MANIFEST_NAME, manifest.to_json().encode())
    return manifest


def _copy_shard(
    dataset: ShardedDataset,
    storage: Storage,
    index: int,
    num_groups: int,
    make: PartMaker,
    num_parts: int,
    encoding: PartEncoding,
) -> ShardFile:
    name, schema = IMAGES_NAME.format(index), images_schema()
    scratch_parent = storage.uri if storage.is_local else None
    with (
        explained_write_errors(f"{storage.uri}/{name}"),
        tempfile.TemporaryDirectory(dir=scratch_parent, prefix=f".parts-{index:05d}-") as scratch,
    ):
        path = Path(scratch) / name
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_statistics=False) as writer:
            for group in range(num_groups):
                table = dataset.read_group(name, group, None)
                (row,) = table.to_pylist()
                record = record_of(table)
                row |= {"amodal_png": row.get("amodal_png", b""), "has_background": record.has_background}
                row["parts_png"] = pack_parts(_checked(make(record), num_parts, encoding, record.id))
                writer.write_table(pa.Table.from_pylist([row], schema=schema), row_group_size=1)
        return ShardFile(name, path.stat().st_size, storage.upload(path, name))


def _checked(maps: np.ndarray, num_parts: int, encoding: PartEncoding, image_id: str) -> np.ndarray:
    layers = 1 if encoding == "labels" else num_parts
    fits = maps.dtype == np.uint8 and maps.ndim == 3 and maps.shape[0] == layers and maps.shape[1] == maps.shape[2]
    if not fits or (encoding == "labels" and maps.max(initial=0) >= num_parts):
        raise DataError(
            f"the part maps of {image_id} are {maps.dtype} {maps.shape}, for {num_parts} parts as {encoding}",
            f"return uint8 [{layers}, h, h]" + (f", labels below {num_parts}" if encoding == "labels" else ""),
        )
    return maps
