"""The tracking URI of a whole process, set for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def process_tracking_uri(uri: str | None) -> Iterator[None]:
    """MLflow resolves ``models:/`` with the process's own tracking URI, which also is a variable that children inherit.

    Both are as before afterwards: a model that was fetched from one server must not send the next run there.

    Args:
        uri: tracking URI; None or "" leaves the process's.
    """
    import mlflow
    from mlflow.tracking import is_tracking_uri_set

    if not uri:
        yield
        return
    before = mlflow.get_tracking_uri() if is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it
