"""From sources to shards: planned, made in parallel by Ray Data, resumable (finished shards are kept).

A data set is a folder of ``objects-*.parquet``, ``views-*.parquet`` and ``pixels-*.parquet`` (image collections:
``images-*.parquet``), a ``shard-*.json`` record per shard, and, at the end, ``manifest.json`` and ``report.json``.
The plan is a pure function of sources and settings, and each shard is one of its plan. So running the same command
again makes only what is missing and produces the same files.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from raylift.config.codec import read_json
from raylift.core import errors as raylift_errors
from raylift.core.errors import DataError, StorageError
from raylift.core.generators import stable_hash
from raylift.core.preflight import preflight
from raylift.core.storage import Storage
from raylift.data.kinds import annotations_of, kind_to_make
from raylift.data.prepare.assignment import assigned_entries
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import members_of
from raylift.data.prepare.shards import (
    PlannedItem,
    ShardPlan,
    ShardRecord,
    fingerprint_of,
    finished_record,
    make_shard,
)
from raylift.data.prepare.splits import listed_split
from raylift.data.prepare.visibility import check_seen, seen_here
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.base import AnySource
from raylift.data.sources.opening import Selection, select_items
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import MANIFEST_NAME, Manifest, ObjectEntry

REPORT_NAME = "report.json"
TASK = {"CPU": 1.0}
"""Resources of the task that makes a shard."""
NODE_PATIENCE_S = 600.0
"""How long a preparation waits for the first node with room for a task, in seconds."""
logger = logging.getLogger(__name__)

_MADE_BY_US = re.compile(r"(objects|views|pixels|images)-\d{5}\.parquet|shard-\d{5}\.json")


@dataclass(frozen=True)
class IngestReport:
    """The result of an ingest.

    Attributes:
        manifest: manifest of the finished data set.
        set_aside: (id, reason) of unusable items.
        warnings: (id, note) of usable items with defects.
        num_kept_shards: shards that already existed.
        num_made_shards: shards that this run made.
    """

    manifest: Manifest
    set_aside: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    num_kept_shards: int
    num_made_shards: int


Progress = Callable[[int, int], None]
"""Called with (objects done, objects in total)."""


def ingest(
    sources: Sequence[AnySource],
    out: str | Storage,
    config: PrepareConfig | None = None,
    selection: Selection | None = None,
    listed_splits: dict[str, str] | None = None,
    parallel: Literal["ray", "none"] = "ray",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IngestReport:
    """Prepare a data set, or finish one.

    Args:
        sources: sources of the objects; their ids must be distinct.
        out: local folder or ``s3://`` prefix.
        config: numbers of views, points and so on; its type decides which kind of data set is made.
        selection: objects to use.
        listed_splits: split by id; None uses the source's split or the hash.
        parallel: "ray" makes shards with Ray Data on every CPU of the cluster; "none" sequentially in this process.
        overwrite: whether to rebuild every shard, even over a data set with other settings.
        progress: called as shards finish.

    Raises:
        DataError: no usable object, the target holds a data set with other settings, or it cannot be written.
    """
    config = config or ShapesConfig()
    storage = out if isinstance(out, Storage) else Storage.at(out)
    settings: dict[str, Any] = {"config": asdict(config), "kinds": sorted({source.kind for source in sources})}
    kind = kind_to_make(config)
    annotations = annotations_of(kind, tuple(sources))
    fingerprint = fingerprint_of(kind.identity(config, annotations))
    preflight(storage, writes=True)
    _refuse_other(storage, fingerprint, overwrite)
    plans = plan_shards(sources, config, selection or Selection(), fingerprint)
    planned = {one.item.id: one.item for plan in plans for one in plan.items}
    for name, item in planned.items():
        listed_split(name, item.split, listed_splits)  # an object missing from the list is an error before work starts
    records: dict[int, ShardRecord] = {}
    if not overwrite:
        found = ((plan.index, finished_record(storage, plan)) for plan in plans)
        records = {index: record for index, record in found if record is not None}
    num_kept = len(records)
    total = sum(len(plan.items) for plan in plans)
    sizes = {plan.index: len(plan.items) for plan in plans}
    done = sum(sizes[index] for index in records)
    if progress is not None:
        progress(done, total)
    missing = [plan for plan in plans if plan.index not in records]
    maker = _make_by_ray if parallel == "ray" else _make_here
    for record in maker(missing, tuple(sources), config, storage):
        records[record.index] = record
        done += sizes[record.index]
        if progress is not None:
            progress(done, total)
    ordered = [records[plan.index] for plan in plans]
    assigned, notes = assigned_entries(ordered, planned, listed_splits, config)
    return _finish(storage, ordered, assigned, notes, num_kept, config, settings, fingerprint, annotations)


def plan_shards(
    sources: Sequence[AnySource],
    config: PrepareConfig,
    selection: Selection,
    fingerprint: str,
) -> list[ShardPlan]:
    """Distribute objects over shards by a hash of their ids, so that every shard is a mix."""
    owners = [(index, item) for index, source in enumerate(sources) for item in source.items()]
    wanted = {item.id for item in select_items([item for _, item in owners], selection)}
    planned = [PlannedItem(index, item) for index, item in owners if item.id in wanted]
    planned.sort(key=lambda one: (stable_hash("shard", one.item.id), one.item.id))
    plans: list[ShardPlan] = []
    for start in range(0, len(planned), config.objects_per_shard):
        part = tuple(planned[start : start + config.objects_per_shard])
        content = [fingerprint, [[asdict(one.item), sources[one.source].kind] for one in part]]
        plans.append(ShardPlan(len(plans), part, fingerprint_of(content)))
    return plans


def _refuse_other(storage: Storage, fingerprint: str, overwrite: bool) -> None:
    if overwrite or storage.size(MANIFEST_NAME) is None:
        return
    if Manifest.read(storage).fingerprint != fingerprint:
        raise DataError(
            f"{storage.uri} already holds a data set prepared with other settings (or by another version)",
            "use another --out, the same settings, or --overwrite to replace it",
        )


def _make_here(
    plans: list[ShardPlan], sources: tuple[AnySource, ...], config: PrepareConfig, storage: Storage
) -> Iterator[ShardRecord]:
    for plan in plans:
        yield make_shard(plan, sources, config, storage)


def _make_by_ray(
    plans: list[ShardPlan], sources: tuple[AnySource, ...], config: PrepareConfig, storage: Storage
) -> Iterator[ShardRecord]:
    """Make shards with Ray Data, one task each, in any order.

    A shard that cannot be written is returned as a row, not raised, so that the user sees the original message.
    """
    if not plans:
        return
    import ray

    from raylift.data.ray_nodes import fits, wait_for_nodes
    from raylift.data.ray_session import quiet_data_context, start_ray

    start_ray()
    wait_for_nodes([[TASK]], lambda nodes: int(fits(nodes, [TASK])), 1, NODE_PATIENCE_S, logger.warning)
    quiet_data_context().execution_options.preserve_order = False
    by_index = {plan.index: plan for plan in plans}
    with seen_here(sources, storage) as seen:
        yield from _made_by_ray(by_index, ray.put((by_index, sources, config, storage, seen)))


def _made_by_ray(by_index: dict[int, ShardPlan], shared: Any) -> Iterator[ShardRecord]:
    import ray

    def make(row: dict[str, Any]) -> dict[str, Any]:
        import torch

        torch.set_num_threads(1)
        the_plans, the_sources, the_config, the_storage, seen = ray.get(shared)
        try:
            # Otherwise a node without the files would set aside every object that it is given.
            check_seen(seen)
            made = make_shard(the_plans[int(row["index"])], the_sources, the_config, the_storage)
            return {"record": made.to_json(), "problem": "", "remedy": "", "error": ""}
        except (DataError, StorageError) as error:
            kind = type(error).__name__
            return {"record": "", "problem": error.problem, "remedy": error.remedy, "error": kind}

    rows = ray.data.from_items([{"index": index} for index in by_index], override_num_blocks=len(by_index))
    for row in rows.map(make, num_cpus=TASK["CPU"]).iter_rows():
        if row["problem"]:
            raise getattr(raylift_errors, row["error"], DataError)(row["problem"], row["remedy"])
        yield read_json(ShardRecord, row["record"], is_record=True)


def _finish(
    storage: Storage,
    records: list[ShardRecord],
    entries: list[ObjectEntry],
    split_notes: list[str],
    num_kept: int,
    config: PrepareConfig,
    settings: dict[str, Any],
    fingerprint: str,
    annotations: Annotations,
) -> IngestReport:
    set_aside = tuple(sorted(pair for record in records for pair in record.set_aside))
    warnings = [
        *sorted(pair for record in records for pair in record.warnings),
        *(("splits", note) for note in split_notes),
    ]
    kind = kind_to_make(config)
    manifest = Manifest(
        entries=tuple(sorted(entries, key=lambda entry: entry.id)),
        shards=tuple(record.files for record in records),
        settings=settings,
        fingerprint=fingerprint,
        seed=config.seed,
        sigmas=kind.sigmas(config),
        versions=_versions(),
        set_aside=len(set_aside),
        schema_version=kind.schema_version,
        kind=kind.name,
        annotations=annotations,
    )
    if entries:
        warnings += [("training split", note) for note in kind.problems(ShardedDataset(storage, manifest))]
    report = {
        "num_used": len(entries),
        "set_aside": [{"id": name, "reason": reason} for name, reason in set_aside],
        "warnings": [{"id": name, "note": note} for name, note in warnings],
        "shared_groups": {
            group: list(members) for group, members in members_of(manifest.groups).items() if len(members) > 1
        },
    }
    storage.write(REPORT_NAME, (json.dumps(report, indent=1) + "\n").encode())
    if not entries:
        raise DataError(
            f"none of the {len(set_aside)} objects could be used; the first: {set_aside[0][0]}: {set_aside[0][1]}",
            f"see all reasons in {storage.uri}/{REPORT_NAME}",
        )
    storage.write(MANIFEST_NAME, manifest.to_json().encode())
    _remove_leftovers(storage, records)
    return IngestReport(manifest, set_aside, tuple(warnings), num_kept, len(records) - num_kept)


def _remove_leftovers(storage: Storage, records: list[ShardRecord]) -> None:
    """Delete shards of an earlier, larger plan that the manifest no longer names."""
    valid = {file.name for record in records for file in record.files}
    valid |= {f"shard-{record.index:05d}.json" for record in records}
    for name in storage.names(".parquet") + storage.names(".json"):
        if _MADE_BY_US.fullmatch(name) and name not in valid:
            storage.delete(name)


def _versions() -> dict[str, str]:
    found = {}
    for package in ("raylift", "numpy", "scipy", "trimesh", "pyarrow", "pillow", "scikit-image"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
