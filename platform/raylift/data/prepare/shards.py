"""One shard: made by one task from a few objects, written completely or not at all, and recognised if present."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raylift.config.codec import read_json
from raylift.core.errors import ConfigError, MissingFileError, RayliftError
from raylift.core.storage import Storage, explained_write_errors
from raylift.data.kind import Rows
from raylift.data.kinds import kind_to_make
from raylift.data.prepare.config import PrepareConfig
from raylift.data.sources.base import AnySource, SourceItem
from raylift.data.store.manifest import ROWS_PER_GROUP, SCHEMA_VERSION, ObjectEntry, ShardFile

RECORD_NAME = "shard-{:05d}.json"


@dataclass(frozen=True)
class PlannedItem:
    """An item with the source it comes from."""

    source: int
    item: SourceItem


@dataclass(frozen=True)
class ShardPlan:
    """The items of one shard.

    Attributes:
        fingerprint: hash of everything that the content depends on; identifies a finished shard.
    """

    index: int
    items: tuple[PlannedItem, ...]
    fingerprint: str


@dataclass(frozen=True)
class ShardRecord:
    """Record of a finished shard; written last, so a shard without it does not count.

    Attributes:
        files: files of the shard; empty if every item was set aside.
        entries: usable objects, still without split and group: those are assigned once all shards are made.
        set_aside: (id, reason) of unusable items.
        warnings: (id, note) of usable items with defects.
        bodies: (id, moments of its body) of meshes; see ``data.shapes.bodies``.
    """

    index: int
    fingerprint: str
    files: tuple[ShardFile, ...]
    entries: tuple[ObjectEntry, ...]
    set_aside: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    bodies: tuple[tuple[str, tuple[float, ...]], ...] = ()
    seconds: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def fingerprint_of(content: Mapping[str, Any] | list[Any]) -> str:
    """A hash of JSON-like content."""
    text = json.dumps([SCHEMA_VERSION, content], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def finished_record(storage: Storage, plan: ShardPlan) -> ShardRecord | None:
    """The record of a shard that exists, is complete, and was made from the same plan; else None."""
    name = RECORD_NAME.format(plan.index)
    if storage.size(name) is None:
        return None
    try:
        record = read_json(ShardRecord, storage.read(name), is_record=True)
    except (ConfigError, MissingFileError):
        return None
    whole = all(storage.size(file.name) == file.num_bytes for file in record.files)
    return record if whole and record.fingerprint == plan.fingerprint else None


def make_shard(
    plan: ShardPlan,
    sources: tuple[AnySource, ...],
    config: PrepareConfig,
    storage: Storage,
    on_object: Callable[[str], None] | None = None,
) -> ShardRecord:
    """Make one shard and write its tables and its record.

    An unusable item is set aside with its reason. Rows are written object by object, so memory holds only one.

    Raises:
        DataError: the shard cannot be written (full disk, no permission); no part of it is left behind.
    """
    start = time.perf_counter()
    entries: list[ObjectEntry] = []
    set_aside: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = []
    bodies: list[tuple[str, tuple[float, ...]]] = []
    tables = kind_to_make(config).tables(config)
    names, schemas = [name.format(plan.index) for name, _ in tables], [schema for _, schema in tables]
    with explained_write_errors(f"{storage.uri}/{names[0]}"):
        # On a local disk the temporary folder is inside the target, so that moving a finished file is a rename.
        if storage.is_local:
            Path(storage.uri).mkdir(parents=True, exist_ok=True)
        scratch_parent = storage.uri if storage.is_local else None
        with tempfile.TemporaryDirectory(dir=scratch_parent, prefix=f".shard-{plan.index:05d}-") as scratch:
            paths = [Path(scratch) / name for name in names]
            writers = [
                pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, write_statistics=False)
                for path, schema in zip(paths, schemas, strict=True)
            ]
            try:
                for planned in plan.items:
                    made = _payload_or_reason(planned, sources, config)
                    if isinstance(made, str):
                        set_aside.append((planned.item.id, made))
                    else:
                        for writer, schema, rows in zip(writers, schemas, made.tables, strict=True):
                            per_group = int((schema.metadata or {}).get(ROWS_PER_GROUP.encode(), len(rows)))
                            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=per_group)
                        warnings += [(planned.item.id, note) for note in made.notes]
                        bodies += [(planned.item.id, made.body)] if made.body else []
                        entries.append(
                            ObjectEntry(
                                id=planned.item.id,
                                category=planned.item.category,
                                split="",
                                caption=made.caption,
                                shard=plan.index,
                                row_group=len(entries),
                                num_views=made.num_views,
                            )
                        )
                    if on_object is not None:
                        on_object(planned.item.id)
            finally:
                for writer in writers:
                    writer.close()
            files = []
            for path, name in zip(paths, names, strict=True):
                if entries:
                    size = path.stat().st_size
                    files.append(ShardFile(name, size, storage.upload(path, name)))
    record = ShardRecord(
        index=plan.index,
        fingerprint=plan.fingerprint,
        files=tuple(files),
        entries=tuple(entries),
        set_aside=tuple(set_aside),
        warnings=tuple(warnings),
        bodies=tuple(bodies),
        seconds=time.perf_counter() - start,
    )
    storage.write(RECORD_NAME.format(plan.index), record.to_json().encode())
    return record


def _payload_or_reason(planned: PlannedItem, sources: tuple[AnySource, ...], config: PrepareConfig) -> Rows | str:
    try:
        return kind_to_make(config).make(planned.item, sources[planned.source], config)
    except RayliftError as error:
        return f"{error.problem} ({error.remedy})" if error.remedy else error.problem
    except MemoryError:
        return "it does not fit into memory (make it smaller)"
    except Exception as error:
        return f"unexpected {type(error).__name__}: {error}"
