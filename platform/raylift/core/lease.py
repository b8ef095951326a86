"""One driver per run: a lease in the run's folder, renewed while the driver lives, and taken over when it is stale.

The lease is the file ``lease-NNNNNN.json`` of the highest number, created on a condition: ``O_EXCL`` in a local
folder, ``If-None-Match`` in an object store. A successor creates the next number, so of several at once one succeeds,
and a driver that was thought dead sees the higher number and stops. The last file stays, released, so that numbers
never start again.

    free (none, released, not renewed for ``lease_s``) -> create number + 1 -> renew every lease_s / 6 -> release
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from raylift.core.errors import ConfigError, MissingFileError, StorageError
from raylift.core.storage import Storage

logger = logging.getLogger(__name__)

LEASE_S = 60.0
"""A driver that has not renewed for this long is taken for dead."""
_NAME = re.compile(r"^lease-(\d{6})\.json$")


class Lease:
    """The right to drive what is in a folder; a context manager.

    Args:
        folder: folder of the run or sweep.
        what: name of it, for messages, such as ``run 'cars'``.
        lease_s: see ``LEASE_S``; None for it.

    Attributes:
        lost: the error to end with, once another driver has taken the lease over.
        on_lost: called then, from another thread.

    Raises (on entry):
        ConfigError: a live driver holds it.
        StorageError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Storage,
        what: str,
        lease_s: float | None = None,
    ) -> None:
        self.lost: ConfigError | None = None
        self.on_lost: Callable[[ConfigError], None] | None = None
        self._folder, self._what = folder, what
        self._lease_s = LEASE_S if lease_s is None else lease_s
        self._number, self._num_renewals = 0, 0
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        # A renewal that waits for the storage ends with the process; then the lease becomes stale by itself.
        if self.lost is None and self._writing.acquire(timeout=self._lease_s):
            try:
                self._folder.write(_name(self._number), self._content(released=True))
            except StorageError as problem:
                logger.warning("%s: its lease is not released and ends by itself: %s", self._what, problem.problem)
            finally:
                self._writing.release()

    def check(self) -> None:
        """Raise if another driver has taken over.

        Raises:
            ConfigError: it has.
        """
        if self.lost is not None:
            raise self.lost

    # -- acquiring -----------------------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        watched: tuple[int, int] | None = None
        while True:
            number = self._newest()
            held = self._held(number) if number else {"released": True}
            if held is not None and self._is_free(number, held):
                if self._folder.create(_name(number + 1), self._content()):
                    self._number = number + 1
                    self._remove_older()
                    return
                continue
            seen = number, int((held or {}).get("num_renewals", 0))
            if watched is not None and seen != watched and held is not None:
                raise self._refusal(held)
            if watched is None:
                logger.warning(
                    "%s was started by %s; it starts here if that driver is silent for %.0f s",
                    self._what, _named(held or {}), self._lease_s,
                )  # fmt: skip
                watched = seen
            time.sleep(self._lease_s / 12)

    def _newest(self) -> int:
        found = [int(match[1]) for name in self._folder.names(".json") if (match := _NAME.match(name))]
        return max(found, default=0)

    def _held(self, number: int) -> dict[str, Any] | None:
        """What the holder wrote; None if a successor has just removed it, {} if it is being written."""
        try:
            text = self._folder.read(_name(number))
        except MissingFileError:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            return {}
        return found

    def _is_free(self, number: int, held: dict[str, Any]) -> bool:
        if held.get("released") or _is_dead(held):
            return True
        age = self._folder.age_s(_name(number))
        return age is not None and age > float(held.get("lease_s", self._lease_s))

    def _refusal(self, held: dict[str, Any]) -> ConfigError:
        return ConfigError(
            f"{self._what} in {self._folder.uri} is driven by {_named(held)}",
            "wait for it, stop it, or use another --name",
        )

    def _remove_older(self) -> None:
        for name in self._folder.names(".json"):
            if (match := _NAME.match(name)) and int(match[1]) < self._number:
                with suppress(StorageError):
                    self._folder.delete(name)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._stop.wait(self._lease_s / 6):
            try:
                if self._newest() > self._number:
                    self._lose()
                    return
                with self._writing:
                    if self._stop.is_set():
                        return
                    self._num_renewals += 1
                    self._folder.write(_name(self._number), self._content())
            except StorageError as error:
                logger.warning("%s: its lease cannot be renewed yet: %s", self._what, error.problem)

    def _lose(self) -> None:
        self.lost = ConfigError(
            f"{self._what} was taken over by another driver, since this one could not renew its lease in"
            f" {self._folder.uri}",
            "let the other driver finish, or stop it and rerun the same command",
        )
        if self.on_lost is not None:
            self.on_lost(self.lost)

    def _content(self, released: bool = False) -> bytes:
        about = {
            "token": self._token,
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "lease_s": self._lease_s,
            "num_renewals": self._num_renewals,
            "released": released,
        }
        return json.dumps(about, indent=1).encode()


def _name(number: int) -> str:
    return f"lease-{number:06d}.json"


def _named(held: dict[str, Any]) -> str:
    return f"process {held['pid']} on {held['host']}" if "pid" in held else "another driver"


def _machine() -> str:
    """A name under which process ids mean the same: the host since it booted, and a container's own numbering."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_dead(held: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended, so that nobody has to wait."""
    if held.get("machine") != _machine():
        return False
    try:
        process = psutil.Process(int(held["pid"]))
        is_another = abs(process.create_time() - float(held["started"])) > 1.0
        return is_another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError, ValueError):
        return False
