"""Where a run's workers and their loaders go: labels of nodes, the number of loaders, and whether all of them fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raylift.config.recipe import ScaleConfig, node_labels
from raylift.core.errors import ConfigError

MOST_LOADERS = 8
"""Loaders per worker, unless the recipe says more: each is a process of a few hundred MB."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster that is up."""

    cpus: float
    gpus: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def all_of(described: Sequence[Mapping[str, Any]]) -> list[Node]:
        """From ``ray.nodes()``."""
        return [
            Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0), node.get("Labels", {}))
            for node in described
            if node["Alive"]
        ]


def num_loaders(scale: ScaleConfig, nodes: Sequence[Node]) -> int:
    """Loaders per worker: the recipe's, or one per CPU that a worker's node has to spare.

    Raises:
        ConfigError: no node has the labels, or workers and loaders want more CPUs than there are: training would wait
            for its data forever.
    """
    trainers = _chosen(scale.train_on, "scale.train_on", nodes)
    feeders = _chosen(scale.feed_on, "scale.feed_on", nodes)
    loaders = scale.loaders or _spare(scale, trainers, feeders)
    training, loading = scale.workers * scale.cpus_per_worker, scale.workers * loaders * scale.data_cpus
    for wanted, found, what in (
        (training, trainers, f"{scale.workers} workers want"),
        (loading, feeders, f"{scale.workers} x {loaders} loaders want"),
        (training + loading, nodes, f"{scale.workers} workers and their data tasks ({loaders} loaders each) want"),
    ):
        there = sum(node.cpus for node in found)
        if wanted > there + 1e-9:
            raise ConfigError(
                f"{what} {wanted:g} CPUs of {there:g}",
                "lower scale.workers, scale.loaders, scale.cpus_per_worker or scale.data_cpus (fractions are fine)",
            )
    return loaders


def _spare(scale: ScaleConfig, trainers: Sequence[Node], feeders: Sequence[Node]) -> int:
    """One loader per whole CPU, since each computes on one thread whatever it reserves."""
    apart = not {id(node) for node in trainers} & {id(node) for node in feeders}
    if apart or scale.feed_on:
        free = sum(node.cpus for node in feeders) / scale.workers - (0 if apart else scale.cpus_per_worker)
    else:
        each = -(-scale.workers // len(trainers))
        free = max(node.cpus for node in trainers) / each - scale.cpus_per_worker
    return max(1, min(MOST_LOADERS, int(free / max(1.0, scale.data_cpus) + 1e-9)))


def _chosen(selector: str, name: str, nodes: Sequence[Node]) -> list[Node]:
    wanted = node_labels(selector)
    found = [node for node in nodes if all(node.labels.get(key) == value for key, value in wanted.items())]
    if not found:
        pairs = sorted({f"{key}={value}" for node in nodes for key, value in node.labels.items()})
        own = [pair for pair in pairs if not pair.startswith("ray.io/")] or pairs
        raise ConfigError(
            f"{name}={selector}, but no node has {'these labels' if len(wanted) > 1 else 'this label'}",
            f"the cluster's labels are {', '.join(own)}" if own else "start Ray's nodes with --labels",
        )
    return found
