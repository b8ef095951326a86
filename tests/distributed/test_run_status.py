"""The status of a run: on the driver's node, and no call of it ends a run."""

from __future__ import annotations

import time

import pytest

from raylift.core.errors import DataError

pytestmark = pytest.mark.ray


def test_it_is_pinned_to_the_drivers_node(cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray places actors without CPUs on any node, and on spot nodes each but the driver's may go."""
    import ray

    from raylift.runs.run_status import StatusBoard

    asked: dict[str, object] = {}
    make = ray.remote

    def remote(**options: object) -> object:
        asked.update(options)
        return make(**options)

    monkeypatch.setattr(ray, "remote", remote)
    board = StatusBoard.open()
    place = asked["scheduling_strategy"]
    assert place.node_id == ray.get_runtime_context().get_node_id()  # type: ignore[attr-defined]
    assert not place.soft  # type: ignore[attr-defined]
    assert asked["num_cpus"] == 0
    board.close()


def test_it_is_replaced_when_it_dies_and_missed_by_nobody(cluster: None) -> None:
    import ray

    from raylift.runs.run_status import StatusBoard

    board = StatusBoard.open()
    assert board.note_start() is None
    board.fail(DataError("a shard is damaged", "make it again"))
    board.fail(DataError("another follows from it", ""))
    assert str(board.failure()) == "a shard is damaged\n  remedy: make it again"
    ray.kill(board.actor, no_restart=False)
    while board.failure() is not None:  # until it is dead
        time.sleep(0.1)
    # The next worker group meets the error again.
    assert board.note_start() is None
    board.fail(DataError("a shard is damaged", "make it again"))
    assert isinstance(board.failure(), DataError)
    assert board.num_starts() == 1
    ray.kill(board.actor)
    while board.failure() is not None:
        time.sleep(0.1)
    board.post("progress")  # type: ignore[arg-type]
    board.fail(DataError("", ""))
    assert board.take() == []
    assert board.note_start() is None
    assert board.failure() is None
    assert board.num_starts() == 1
    board.close()
