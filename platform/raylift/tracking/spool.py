"""A run's records, kept on disk until the tracking server has them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.core.storage import write_whole

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, step INTEGER NOT NULL, value REAL, kind TEXT NOT NULL DEFAULT 'finite',
    time_ms INTEGER NOT NULL, sent INTEGER NOT NULL DEFAULT 0, replaces INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, step));
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    refused TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS metrics_unsent ON metrics (sent, id);
CREATE INDEX IF NOT EXISTS events_unsent ON events (sent, id);
"""


@dataclass(frozen=True)
class SpooledMetric:
    """One value that the server may not have yet."""

    id: int
    key: str
    step: int
    value: float
    time_ms: int
    replaces: bool = False
    """Whether it replaces a value of that step that the server may have."""


@dataclass(frozen=True)
class SpooledEvent:
    """Anything else, in the order it was logged: "params", "tags", "artifact", "dataset", "model" or "finish"."""

    id: int
    kind: str
    payload: dict[str, Any]


class Spool:
    """A folder that holds one writer's unsent records, in SQLite, with copies of the files.

    A process that dies leaves it intact; the next one that opens the folder carries on. Several live writers of one run
    (driver and worker) get their own subfolders, and share the run's identity, ``run.json``. A second value for the
    same metric and step is dropped here, unless it is to replace the first, so that a restarted run repeats nothing.

    Args:
        folder: folder of the run, on a local disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock_file: Any = None
        self.writer = self._claim_writer()
        self._lock = threading.Lock()
        self._database = sqlite3.connect(self.writer / "spool.sqlite", check_same_thread=False, isolation_level=None)
        # A power failure may lose the last records, but not the spool's integrity; a killed process loses nothing.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)

    def _claim_writer(self) -> Path:
        for number in range(1000):
            writer = self.folder / f"writer-{number}"
            writer.mkdir(exist_ok=True)
            if fcntl is None:
                return writer
            handle = open(writer / "lock", "w")  # noqa: SIM115 - held for as long as the spool is open
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            except OSError:  # a file system without locks: use the first folder
                pass
            self._lock_file = handle
            return writer
        raise OSError(f"{self.folder} has a thousand live writers")

    # -- the run's identity, shared by all writers -----------------------------------------------------------

    def read_identity(self) -> dict[str, str]:
        """What is known about the run: ``run_key``; ``run_id`` and ``experiment_id`` once the server assigned them."""
        path = self.folder / "run.json"
        try:
            identity: dict[str, str] = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            identity = {"run_key": uuid.uuid4().hex}
            self.write_identity(identity)
        return identity

    def write_identity(self, identity: Mapping[str, str]) -> None:
        """Replace ``run.json`` atomically."""
        write_whole(self.folder / "run.json", json.dumps(dict(identity), indent=2).encode())

    # -- what the run logs -----------------------------------------------------------------------------------

    def add_metrics(self, metrics: Mapping[str, float], step: int, replace: bool = False) -> None:
        """Store values of one step; values already stored for that name and step win, or are replaced."""
        now = int(time.time() * 1000)
        rows = [(key, step, *_encode(float(value)), now, replace) for key, value in metrics.items()]
        otherwise = "REPLACE" if replace else "IGNORE"
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany(
                f"INSERT OR {otherwise} INTO metrics (key, step, value, kind, time_ms, replaces)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._database.execute("COMMIT")

    def add_event(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Store anything else."""
        with self._lock:
            self._database.execute(
                "INSERT INTO events (kind, payload) VALUES (?, ?)", (kind, json.dumps(dict(payload)))
            )

    def copy_in(self, source: Path) -> Path:
        """Copy a file or folder into the spool, so that the caller may change or delete it; returns the copy."""
        place = self.writer / "files" / uuid.uuid4().hex / source.name
        place.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, place)
        else:
            shutil.copyfile(source, place)
        return place

    def last_step(self, key: str) -> int:
        """The highest step of a metric, or -1."""
        with self._lock:
            found = self._database.execute("SELECT MAX(step) FROM metrics WHERE key = ?", (key,)).fetchone()[0]
        return -1 if found is None else int(found)

    # -- what the sender reads -------------------------------------------------------------------------------

    def unsent_metrics(self, limit: int) -> list[SpooledMetric]:
        """The oldest unacknowledged values."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, key, step, value, kind, time_ms, replaces FROM metrics WHERE sent = 0 ORDER BY id LIMIT ?",
                (limit,),
            ).fetchall()
        return [SpooledMetric(row[0], row[1], row[2], _decode(row[3], row[4]), row[5], bool(row[6])) for row in rows]

    def unsent_event(self) -> SpooledEvent | None:
        """The oldest unacknowledged event."""
        with self._lock:
            row = self._database.execute(
                "SELECT id, kind, payload FROM events WHERE sent = 0 ORDER BY id LIMIT 1"
            ).fetchone()
        return None if row is None else SpooledEvent(row[0], row[1], json.loads(row[2]))

    def mark_metrics_sent(self, ids: Sequence[int]) -> None:
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany("UPDATE metrics SET sent = 1 WHERE id = ?", [(number,) for number in ids])
            self._database.execute("COMMIT")

    def mark_event_sent(self, event: SpooledEvent, refused: str = "") -> None:
        """Acknowledge an event (``refused`` says why the server rejected it) and delete its copied file."""
        with self._lock:
            self._database.execute("UPDATE events SET sent = 1, refused = ? WHERE id = ?", (refused, event.id))
        if "path" in event.payload and not refused:
            shutil.rmtree(Path(event.payload["path"]).parent, ignore_errors=True)

    def num_unsent(self) -> int:
        """Number of records that the server may not have."""
        with self._lock:
            counts = self._database.execute(
                "SELECT (SELECT COUNT(*) FROM metrics WHERE sent = 0) + (SELECT COUNT(*) FROM events WHERE sent = 0)"
            ).fetchone()
        return int(counts[0])

    def refusals(self) -> list[str]:
        """Records that the server rejected, each with its reason."""
        with self._lock:
            rows = self._database.execute("SELECT kind, refused FROM events WHERE refused != '' ORDER BY id").fetchall()
        return [f"{kind}: {reason}" for kind, reason in rows]

    def close(self) -> None:
        with self._lock:
            self._database.close()
        if self._lock_file is not None:
            self._lock_file.close()


def _encode(value: float) -> tuple[float | None, str]:
    # SQLite turns NaN into NULL, so non-finite values travel by name.
    if value != value:
        return None, "nan"
    if value in (float("inf"), float("-inf")):
        return None, "inf" if value > 0 else "-inf"
    return value, "finite"


def _decode(value: float | None, kind: str) -> float:
    return float(kind) if value is None else value
