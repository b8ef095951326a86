"""What a driver of a run or sweep checks and holds: storages that work, and the lease of its folder."""

from __future__ import annotations

from collections.abc import Callable

from raylift.core.errors import ConfigError
from raylift.core.lease import Lease
from raylift.core.preflight import preflight
from raylift.core.redaction import holds_secret
from raylift.core.storage import Storage
from raylift.runs.worker import RunPaths
from raylift.training.loop import RunProgress


def check_storage(place: RunPaths) -> None:
    """Diagnose the storages of a run or sweep before it starts.

    Raises:
        StorageError: one cannot be used, with the remedy; or its address holds credentials.
    """
    preflight(Storage.at(place.data), writes=False)
    preflight(Storage.at(place.folder), writes=True)


def check_secrets(values: dict[str, str | int | float | bool]) -> None:
    """Refuse a recipe that holds secrets, since recipes are stored and logged.

    Args:
        values: of the recipe, by dotted path.

    Raises:
        ConfigError: naming the path.
    """
    for path, value in values.items():
        if isinstance(value, str) and holds_secret(value):
            raise ConfigError(f"{path} holds credentials: {value}", "set them in the environment; recipes are logged")


def lease_of(place: RunPaths) -> Lease:
    """The lease of a run."""
    return Lease(Storage.at(place.folder), f"run {place.name!r}")


def ending_with(lease: Lease | None, progress: Callable[[RunProgress], None]) -> Callable[[RunProgress], None]:
    """Forwards reports, and ends the run at the first one after its lease was lost."""

    def hand_on(report: RunProgress) -> None:
        progress(report)
        if lease is not None:
            lease.check()

    return hand_on
