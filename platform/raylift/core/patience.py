"""Waiting for a storage that may come back (law 5): bounded, with growing pauses, and said in the log.

``RAYLIFT_STORAGE_PATIENCE_S`` is how long one operation is tried again, 120 s by default; 0 tries once. It belongs to
the machine and not to a recipe: it changes nothing of what is learned, and storage is used before a recipe is read.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from raylift.core.errors import ConfigError, MissingFileError, StorageError, StorageUnavailableError
from raylift.core.generators import numpy_generator
from raylift.core.storage_faults import Fault, fault_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

VARIABLE = "RAYLIFT_STORAGE_PATIENCE_S"
DEFAULT_S = 120.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
SAID_EVERY_S = 30.0


def patience_s() -> float:
    """Seconds for which one operation is tried again.

    Raises:
        ConfigError: the variable is no number >= 0.
    """
    text = os.environ.get(VARIABLE, "") or str(DEFAULT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ConfigError(f"{VARIABLE} is {text!r}", "use seconds, 0 or more")
    return seconds


def patiently(operation: Callable[[], T], where: str, verb: str, most_s: float | None = None) -> T:
    """The result of an operation on a storage, tried again while its fault may pass.

    Args:
        operation: can be repeated: it starts anew at each call.
        where: place, for messages.
        verb: "read", "written" ..., for messages.
        most_s: seconds for which it is tried again; None: ``patience_s()``.

    Raises:
        MissingFileError: nothing is there.
        StorageUnavailableError: the fault did not pass in time.
        StorageError: a fault that lasts, at once.
    """
    bound = patience_s() if most_s is None else most_s
    started, attempt, said_at = time.monotonic(), 0, float("-inf")
    while True:
        try:
            result = operation()
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            waited = time.monotonic() - started
            if fault.kind != "passing" or waited >= bound:
                raise storage_error(fault, where, verb, waited if attempt else 0.0) from _cause(error)
            if waited - said_at >= SAID_EVERY_S:
                said_at = waited
                logger.warning(
                    "%s is not %s yet (%s): trying for another %.0f s", where, verb, fault.reason, bound - waited
                )
            time.sleep(min(pause_s(where, attempt), bound - waited))
            attempt += 1
        else:
            if attempt:
                logger.warning("%s is %s after %.1f s", where, verb, time.monotonic() - started)
            return result


def pause_s(where: str, attempt: int) -> float:
    """Seconds before the next attempt: doubled each time, up to a bound; half of it is drawn."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(attempt, 30), LONGEST_PAUSE_S)
    # The key names the process, unlike every other one: workers that failed together must not return together.
    draws = numpy_generator(0, "storage pause", where, attempt, socket.gethostname(), os.getpid())
    return longest * (0.5 + 0.5 * float(draws.random()))


def storage_error(fault: Fault, where: str, verb: str, waited_s: float = 0.0) -> StorageError:
    """The error for the user."""
    if fault.kind == "full" and verb == "written":
        return StorageError(f"no room left to write {where}", fault.remedy)
    after = f" after {waited_s:.0f} s" if waited_s >= 1 else ""
    problem = f"{where} cannot be {verb}{after}: {fault.reason}"
    if fault.kind == "passing":
        return StorageUnavailableError(problem, fault.remedy)
    return (MissingFileError if fault.kind == "missing" else StorageError)(problem, fault.remedy)


def _cause(error: Exception) -> Exception | None:
    """The error itself if it is the operating system's: texts of object stores name their endpoint."""
    return error if isinstance(error, OSError) and error.errno is not None else None
