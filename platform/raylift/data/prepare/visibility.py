"""What of a preparation every node must see: the local files of its sources, and a local folder that it writes to."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from raylift.core.errors import DataError, StorageError
from raylift.core.storage import Storage
from raylift.data.sources.base import AnySource


@dataclass(frozen=True)
class SeenHere:
    """What the node of the command sees, to be compared by the others.

    Attributes:
        sources: local paths that the sources read, and the size of each that is a file.
        marker: file in the local folder that is written to; "" for an object store.
    """

    sources: tuple[tuple[str, int | None], ...]
    marker: str = ""


@contextmanager
def seen_here(sources: Sequence[AnySource], storage: Storage) -> Iterator[SeenHere]:
    """What this node sees; a local target holds a marker while the block runs."""
    paths = [(str(path), path.stat().st_size if path.is_file() else None) for path in local_paths(list(sources))]
    if not storage.is_local:
        yield SeenHere(tuple(paths))
        return
    marker = Path(storage.uri) / f".preparing-{secrets.token_hex(8)}"
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    try:
        yield SeenHere(tuple(paths), str(marker))
    finally:
        marker.unlink(missing_ok=True)


def check_seen(seen: SeenHere) -> None:
    """Check on any node that it sees the same.

    Raises:
        DataError: a source's file is missing or another one here.
        StorageError: the local target is another folder here.
    """
    node = socket.gethostname()
    remedy = "mount the folder on every node under the same path, or run the command with --local where the files are"
    for path, size in seen.sources:
        place = Path(path)
        if not place.exists() or (size is not None and place.stat().st_size != size):
            raise DataError(f"node {node} does not see {path}, which the source reads", remedy)
    if seen.marker and not Path(seen.marker).exists():
        raise StorageError(
            f"node {node} does not see the folder {Path(seen.marker).parent} of this command: its shards would be lost",
            "give --out s3://..., or a folder that every node sees under the same path",
        )


def local_paths(value: Any) -> list[Path]:
    """The existing absolute paths among the fields of sources, which may hold other sources and data sets."""
    if isinstance(value, Path):
        return [value] if value.is_absolute() and value.exists() else []
    if isinstance(value, list | tuple):
        return [path for one in value for path in local_paths(one)]
    if is_dataclass(value):
        return local_paths([getattr(value, field.name) for field in fields(value)])
    if isinstance(value, str) and value.startswith("/"):
        # A prepared data set is named by its address.
        return local_paths(Path(value))
    return []
