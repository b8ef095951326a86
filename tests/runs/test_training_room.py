"""Whether a training fits, node by node, and whether it gets GPUs."""

from __future__ import annotations

import pytest

from raylift.config.recipe import ScaleConfig
from raylift.core.errors import ConfigError
from raylift.runs import training_room
from raylift.runs.training_room import find_room

PLAIN = {"CPU": 4.0}
WITH_GPU = {"CPU": 4.0, "GPU": 1.0}
PAIR = ScaleConfig(workers=2, cpus_per_worker=2.0, data_cpus=1.0, gpu="auto")


class _Nodes:
    """A cluster whose nodes are those given; each wait goes on to the next list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lists: list[dict[str, float]]) -> None:
        self.lists, self.asked, self.said = list(lists), [], []  # type: ignore[var-annotated]

        def wait(requests, num_fitting, at_least, patience_s, say):  # type: ignore[no-untyped-def]
            self.asked.append(any("GPU" in bundle for bundle in requests[0]))
            self.lists = self.lists[1:] or self.lists
            return self.lists[0]

        monkeypatch.setattr(training_room, "live_nodes", lambda: self.lists[0])
        monkeypatch.setattr(training_room, "wait_for_nodes", wait)

    def find(self, scale: ScaleConfig) -> bool:
        return find_room(scale, self.said.append)


def test_auto_uses_the_gpus_that_are_up(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = _Nodes(monkeypatch, [WITH_GPU, WITH_GPU])
    assert nodes.find(PAIR)
    assert nodes.said == ["training on GPUs (scale.gpu=auto): 2 x (4 CPUs and 1 GPUs)"]


def test_auto_waits_for_the_gpu_nodes_that_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = _Nodes(monkeypatch, [WITH_GPU, PLAIN], [WITH_GPU, WITH_GPU])
    assert nodes.find(PAIR)
    assert nodes.asked == [True]
    started_at_zero = _Nodes(monkeypatch, [], [WITH_GPU], [WITH_GPU, WITH_GPU])
    assert started_at_zero.find(PAIR)
    assert started_at_zero.asked == [False, True]


def test_auto_says_that_it_takes_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = _Nodes(monkeypatch, [WITH_GPU, PLAIN])
    assert not nodes.find(PAIR)
    assert nodes.said[-1].startswith("training on CPUs (scale.gpu=auto): the nodes have 1 GPUs, and 2 workers need 1")


def test_what_no_node_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = _Nodes(monkeypatch, [{"CPU": 1.0}] * 8)
    with pytest.raises(ConfigError, match=r"2 x \(2 CPU\), 2 x \(1 CPU\), each on one node; (.|\n)*8 x \(1 CPUs\)"):
        nodes.find(PAIR)
    with pytest.raises(ConfigError, match=r"2 x \(2 CPU \+ 1 GPU\)(.|\n)*raise scale\.wait_for_nodes_s"):
        _Nodes(monkeypatch, [PLAIN, PLAIN]).find(ScaleConfig(workers=2, cpus_per_worker=2.0, gpu="always"))
    with pytest.raises(ConfigError, match="wait_for_nodes_s"):
        ScaleConfig(wait_for_nodes_s=-1.0)


def test_workers_and_their_data_tasks_may_be_on_different_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    feeding = _Nodes(monkeypatch, [{"CPU": 2.0, "GPU": 2.0}, {"CPU": 1.0}])
    assert feeding.find(ScaleConfig(workers=2, cpus_per_worker=1.0, data_cpus=0.5))
