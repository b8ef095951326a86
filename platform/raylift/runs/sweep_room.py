"""How many trials fit on a cluster at once, each with its workers, their data tasks and their GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.config.recipe import ScaleConfig
from raylift.core.errors import ConfigError
from raylift.data.ray_nodes import Bundle, Say, described, take, wait_for_nodes

DRIVER_CPUS = 0.01
"""A trial's own process only waits; a whole CPU for each would starve its workers."""
MOST_REQUESTED = 64
"""A sweep asks a cluster for nodes for at most this many trials at once."""


def demands(scale: ScaleConfig) -> list[dict[str, float]]:
    """Resources of a trial's processes, each of which must fit on one node: the driver, then every worker with its
    data tasks. Without workers, the driver trains and loads its own data."""
    gpus = {"GPU": scale.gpus_per_worker} if scale.gpu == "always" else {}
    if scale.workers == 0:
        return [{"CPU": scale.cpus_per_worker, **gpus}]
    worker = {"CPU": scale.cpus_per_worker + max(1, scale.loaders) * scale.data_cpus, **gpus}
    return [{"CPU": DRIVER_CPUS}, *({**worker} for _ in range(scale.workers))]


def driver_resources(scale: ScaleConfig) -> dict[str, float]:
    """What Tune reserves for a trial; Ray Train reserves the rest."""
    return demands(scale)[0]


def num_that_fit(nodes: Sequence[Bundle], scale: ScaleConfig) -> int:
    """How many trials can run at once, filling one node after the other.

    Args:
        nodes: resources of each node that is up.
    """
    free = [dict(node) for node in nodes]
    count = 0
    while all(take(free, demand) for demand in demands(scale)):
        count += 1
    return count


def wait_for_room(
    scale: ScaleConfig, num_trials: int, population: int, concurrency: int, say: Say
) -> list[dict[str, float]]:
    """Ask the cluster for nodes for the trials, and wait for as many as it adds; returns the nodes that are up.

    Args:
        num_trials: number of trials to run.
        population, concurrency: see ``check_room``.
    """
    wanted = min(num_trials, MOST_REQUESTED, concurrency or num_trials)
    return wait_for_nodes(
        [demands(scale)] * wanted,
        lambda nodes: min(wanted, num_that_fit(nodes, scale)),
        min(wanted, population or 1),
        scale.wait_for_nodes_s,
        say,
    )


def check_room(nodes: Sequence[Bundle], scale: ScaleConfig, population: int = 0, concurrency: int = 0) -> int:
    """The number of trials to run at once: as many as fit, and no more than requested.

    Args:
        population: number of trials that must all run at once; 0 lets them take turns.
        concurrency: maximum number of trials at once; 0 is no limit.

    Raises:
        ConfigError: not one trial fits, or not the whole population.
    """
    room = num_that_fit(nodes, scale)
    asked = "; ".join(
        " + ".join(f"{amount:g} {name}" for name, amount in demand.items()) for demand in demands(scale)[-1:]
    )
    there = described(nodes)
    if room == 0:
        raise ConfigError(
            f"no trial fits: it needs {max(1, scale.workers)} x ({asked}, with data tasks), the cluster's nodes have"
            f" {there}",
            "lower resources.workers, resources.cpus_per_worker, resources.gpus_per_worker or scale.data_cpus",
        )
    room = min(room, concurrency) if concurrency else room
    if population > room:
        raise ConfigError(
            f"pbt runs {population} trials at once, but there is room for {room} ({there})",
            "lower budget.trials or a trial's resources; with resources.workers=0 trials take turns",
        )
    return room
