"""What fits on which nodes, and the wait for nodes on a cluster that is acted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from raylift.data import ray_nodes
from raylift.data.ray_nodes import Bundle, described, described_bundles, fits, wait_for_nodes

HEAD = {"CPU": 0.0}
SMALL = {"CPU": 1.0}


def test_a_process_takes_its_resources_from_one_node() -> None:
    assert fits([{"CPU": 4.0}], [{"CPU": 2.0}] * 2)
    assert not fits([{"CPU": 1.0}] * 8, [{"CPU": 2.0}] * 2), "8 CPUs in all, but no node has 2"
    assert fits([{"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}], [{"CPU": 1.0, "GPU": 0.5}, {"CPU": 1.0}])
    assert not fits([{"CPU": 9.0, "GPU": 1.0}], [{"CPU": 1.0, "GPU": 0.5}] * 3)
    assert fits([{"CPU": 0.3}], [{"CPU": 0.1}] * 3), "fractions add up as Ray adds them"


def test_nodes_and_requests_are_told_in_words() -> None:
    assert described([HEAD, SMALL, SMALL, {"CPU": 8.0, "GPU": 1.0}]) == "2 x (1 CPUs), 1 x (8 CPUs and 1 GPUs)"
    assert described([HEAD]) == "no node with CPUs"
    assert described_bundles([SMALL, {"CPU": 0.5, "GPU": 1.0}, SMALL]) == "2 x (1 CPU), 1 x (0.5 CPU + 1 GPU)"


class _Cluster:
    """Nodes that join one after the other, each time that somebody looks, on a clock that only the wait moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, joining: Sequence[int], coming: Sequence[int] = ()) -> None:
        self.now, self.open, self.requested = 0.0, 0, 0
        counts, told = iter(joining), iter(coming)
        self.nodes: list[dict[str, float]] = [dict(HEAD)]

        def look() -> list[dict[str, float]]:
            self.nodes = [dict(HEAD)] + [dict(SMALL)] * next(counts, len(self.nodes) - 1)
            return self.nodes

        def sleep(seconds: float) -> None:
            self.now += 4.0

        monkeypatch.setattr(ray_nodes, "live_nodes", look)
        monkeypatch.setattr(ray_nodes, "may_grow", lambda: True)
        monkeypatch.setattr(ray_nodes, "num_nodes_coming", lambda: next(told, 0))
        monkeypatch.setattr(ray_nodes.time, "sleep", sleep)
        monkeypatch.setattr(ray_nodes.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ray_nodes, "placement_group", self._request)
        monkeypatch.setattr(ray_nodes, "remove_placement_group", self._remove)

    def _request(self, bundles: list[dict[str, float]], strategy: str) -> int:
        self.requested += len(bundles)
        self.open += 1
        return self.open

    def _remove(self, group: int) -> None:
        self.open -= 1


def _wait(wanted: int, at_least: int = 1, patience: float = 100.0, say: Any = lambda text: None) -> list[Any]:
    return wait_for_nodes(
        [[SMALL]] * wanted, lambda nodes: min(wanted, _num_small(nodes)), at_least, patience, say
    )  # fmt: skip


def _num_small(nodes: Sequence[Bundle]) -> int:
    return sum(node["CPU"] == 1.0 for node in nodes)


def test_nodes_are_asked_for_and_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, said = _Cluster(monkeypatch, [0, 0, 1, 1, 1, 2], [2] * 9), []
    assert _num_small(_wait(2, 2, say=said.append)) == 2
    assert (cluster.requested, cluster.open) == (2, 0), "the request ends with the wait"
    assert said[0] == "asked the cluster for 2 x (1 CPU); up: no node with CPUs; waiting up to 100 s"
    assert said[1] == "waiting for nodes, 12 of 100 s; up: 1 x (1 CPUs), 2 joining"
    assert said[-1] == "after 20 s the cluster has 2 x (1 CPUs)"


def test_a_cluster_with_room_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, [2])
    assert _num_small(_wait(2)) == 2
    assert (cluster.requested, cluster.now) == (0, 0.0)


def test_a_ray_of_our_own_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, [0])
    monkeypatch.setattr(ray_nodes, "may_grow", lambda: False)
    assert _num_small(_wait(2)) == 0
    assert (cluster.requested, cluster.now) == (0, 0.0)


def test_the_wait_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, [0])
    assert _num_small(_wait(1, patience=30.0)) == 0
    assert 30.0 < cluster.now < 40.0
    assert cluster.open == 0


def test_more_than_needed_is_waited_for_as_long_as_nodes_join(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = _Cluster(monkeypatch, [0, 1], [1] * 5)
    assert _num_small(_wait(9, at_least=1)) == 1
    assert 20.0 + ray_nodes.QUIET_S < cluster.now < 50.0, "five looks with a node on its way, then the quiet time"


def test_only_a_cluster_that_was_joined_may_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_nodes.ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert not ray_nodes.may_grow()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert ray_nodes.may_grow()
