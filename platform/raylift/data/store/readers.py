"""Parquet readers of the most recently used files; the others are closed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

MOST_OPEN = 64
"""Open files per process; a usual limit of the system is 1024."""


@dataclass
class _Reader:
    """One file. It serves one thread at a time, which holds ``lock``; ``users`` have the lock or wait for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    file: pq.ParquetFile | None = None
    users: int = 0

    def close(self) -> None:
        if self.file is not None:
            self.file.close(force=True)
            self.file = None


class Readers:
    """Opens files on demand, at most ``most_open`` of them unless more are in use at the same time.

    Args:
        open_file: opens a file of this name.
        pre_buffer: read the columns of a row group in few large requests, for object stores.
    """

    def __init__(self, open_file: Callable[[str], pa.NativeFile], pre_buffer: bool, most_open: int = MOST_OPEN) -> None:
        self._open_file = open_file
        self._pre_buffer = pre_buffer
        self._most_open = most_open
        self._readers: OrderedDict[str, _Reader] = OrderedDict()
        self._lock = threading.Lock()

    def read_group(self, name: str, group: int, columns: list[str] | None) -> pa.Table:
        """One row group of a file, with these columns (None: all). After an error the file is opened anew."""
        with self._using(name) as reader, reader.lock:
            try:
                if reader.file is None:
                    reader.file = pq.ParquetFile(self._open_file(name), pre_buffer=self._pre_buffer)
                return reader.file.read_row_group(group, columns=columns, use_threads=False)
            except BaseException:
                reader.close()
                raise

    @contextmanager
    def _using(self, name: str) -> Iterator[_Reader]:
        with self._lock:
            reader = self._readers.setdefault(name, _Reader())
            self._readers.move_to_end(name)
            reader.users += 1
        try:
            yield reader
        finally:
            with self._lock:
                reader.users -= 1
                unused = [key for key, one in self._readers.items() if not one.users]
                for key in unused[: max(0, len(self._readers) - self._most_open)]:
                    self._readers.pop(key).close()
