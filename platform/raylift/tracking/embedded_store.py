"""The embedded store's database: made whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_store(tracking_uri: str) -> None:
    """Make the SQLite database of an embedded store, if that is what is meant and there is none.

    MLflow builds its tables by dozens of migrations, which SQLite does not undo. A process that is killed among them,
    or two that start at once, leave a database that nothing opens any more. So it is built beside its place, and
    linked there when it is complete; the first one stays.
    """
    path = Path(tracking_uri.removeprefix("sqlite:///"))
    if not tracking_uri.startswith("sqlite:////") or path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # MLflow takes seconds to import

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        whole = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{whole}", f"file://{path.parent}/mlartifacts").engine.dispose()
        try:
            os.link(whole, path)
        except FileExistsError:
            return
