"""Where workers and loaders go: labels, the number of loaders, and what does not fit."""

from __future__ import annotations

import pytest

from raylift.config.recipe import ScaleConfig, node_labels
from raylift.core.errors import ConfigError
from raylift.models import catalogue
from raylift.runs.placement import MOST_LOADERS, Node, num_loaders
from raylift.runs.sweep_room import demands

GPU, CPU = Node(8, 1, {"role": "gpu", "ray.io/node-id": "x"}), Node(16, 0, {"role": "cpu"})


@pytest.mark.parametrize(
    ("scale", "nodes", "loaders"),
    [
        (ScaleConfig(), [Node(1.5)], 1),
        (ScaleConfig(), [Node(2)], 1),
        (ScaleConfig(), [Node(4)], 3),
        (ScaleConfig(), [Node(96)], MOST_LOADERS),
        (ScaleConfig(workers=2), [Node(4)], 1),
        (ScaleConfig(workers=8), [Node(48, 8)], 5),
        (ScaleConfig(workers=2), [Node(4), Node(4)], 3),
        (ScaleConfig(data_cpus=2.0), [Node(8)], 3),
        (ScaleConfig(loaders=3), [Node(4)], 3),
        (ScaleConfig(workers=4, feed_on="role=cpu", train_on="role=gpu"), [GPU, CPU], 4),
        (ScaleConfig(workers=1, feed_on="role=gpu", train_on="role=gpu"), [GPU, CPU], 7),
    ],
)
def test_loaders_take_what_is_to_spare(scale: ScaleConfig, nodes: list[Node], loaders: int) -> None:
    assert num_loaders(scale, nodes) == loaders


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (ScaleConfig(feed_on="role=feeder"), r"scale.feed_on=role=feeder, but no node has this label(.|\n)*role=cpu, "),
        (ScaleConfig(train_on="role=gpu,zone=a"), r"no node has these labels(.|\n)*labels are role=cpu, role=gpu$"),
        (ScaleConfig(loaders=60), r"1 x 60 loaders want 30 CPUs of 24(.|\n)*scale.loaders"),
        (ScaleConfig(loaders=47), r"1 workers and their data tasks \(47 loaders each\) want 24.5 CPUs of 24"),
        (ScaleConfig(workers=9, train_on="role=gpu"), r"9 workers want 9 CPUs of 8"),
        (ScaleConfig(loaders=40, feed_on="role=cpu"), r"1 x 40 loaders want 20 CPUs of 16"),
    ],
)
def test_what_the_cluster_could_never_run_is_refused(scale: ScaleConfig, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        num_loaders(scale, [GPU, CPU])


def test_a_cluster_without_labels_says_how_to_give_them() -> None:
    with pytest.raises(ConfigError, match=r"no node has this label(.|\n)*--labels"):
        num_loaders(ScaleConfig(feed_on="role=cpu"), [Node(4)])


def test_nodes_that_are_down_do_not_count() -> None:
    described = [
        {"Alive": True, "Resources": {"CPU": 3.0}, "Labels": {"role": "cpu"}},
        {"Alive": False, "Resources": {"CPU": 9.0, "GPU": 1.0}, "Labels": {}},
    ]
    assert Node.all_of(described) == [Node(3.0, 0.0, {"role": "cpu"})]


def test_labels_are_read_from_text() -> None:
    assert node_labels("") == {}
    assert node_labels(" role=cpu , zone=a ") == {"role": "cpu", "zone": "a"}
    for text in ("role", "=cpu", "role=", "role=a,role=b", ","):
        with pytest.raises(ConfigError, match=r"node labels"):
            ScaleConfig(feed_on=text)
    recipe = catalogue.get("implicit/quick", ("scale.train_on=role=gpu", "scale.loaders=3"))
    assert recipe.scale.train_on == "role=gpu"
    assert recipe.fingerprint == catalogue.get("implicit/quick").fingerprint


def test_a_trial_reserves_all_its_loaders() -> None:
    (_, worker) = demands(ScaleConfig(loaders=4, data_cpus=0.5))
    assert worker == {"CPU": 3.0}
    assert demands(ScaleConfig(data_cpus=0.5))[1] == {"CPU": 1.5}
