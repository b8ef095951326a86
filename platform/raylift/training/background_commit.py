"""Checkpoints written by a thread while training goes on; committed as atomically as by hand.

One is in flight at a time: the next one waits for it. The thread writes the state first and its JSON last, so a kill at
any time leaves the earlier checkpoints and, at most, a file that nothing refers to. If a step is evaluated, its state
is written during the evaluation, and its JSON when the scores are known.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future

from raylift.training.checkpoint import CheckpointStore
from raylift.training.snapshot import Snapshot


class BackgroundCommit:
    """Commits one snapshot.

    Args:
        store: where to.
        snapshot: what; training may go on at once.
    """

    def __init__(self, store: CheckpointStore, snapshot: Snapshot) -> None:
        self.step = snapshot.step
        self._store = store
        self._metrics: Future[dict[str, float] | None] = Future()
        self._path: Future[str | None] = Future()
        self._thread = threading.Thread(target=self._run, args=(snapshot,), name="checkpoint-commit", daemon=True)
        self._thread.start()

    def set_metrics(self, metrics: Mapping[str, float]) -> None:
        """Say the scores of the evaluation at this step; without them nothing is committed."""
        self._metrics.set_result(dict(metrics))

    def finish(self) -> str:
        """Wait until the checkpoint is committed; returns its path.

        Raises:
            RayliftError: it could not be written; earlier ones are left unchanged.
        """
        self._thread.join()
        path = self._path.result()
        assert path is not None, "an abandoned checkpoint has no path"
        return path

    def abandon(self) -> None:
        """End without a commit if the scores are not known, as after an evaluation that failed; else wait for it."""
        if not self._metrics.done():
            self._metrics.set_result(None)
        self._thread.join()

    def _run(self, snapshot: Snapshot) -> None:
        try:
            digest, size = self._store.write_state(snapshot)
            metrics = self._metrics.result()
            if metrics is None:
                self._path.set_result(None)
                return
            entry = self._store.commit(snapshot, digest, size, metrics)
            self._path.set_result(self._store.path(entry))
        except BaseException as error:
            self._path.set_exception(error)
