"""The nodes of a Ray cluster: what fits on them, and the wait until those that a run needs have joined."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

import ray
from ray.util.placement_group import placement_group, remove_placement_group

Bundle = Mapping[str, float]
"""Resources that one process takes from one node, such as ``{"CPU": 1.0, "GPU": 0.5}``."""
Say = Callable[[str], None]
"""Called with a line for the user."""

POLL_S = 0.5
SAY_EVERY_S = 10.0
QUIET_S = 10.0
"""An autoscaler that has announced no node for this long has none to add now: it decides every five seconds."""


def live_nodes() -> list[dict[str, float]]:
    """Resources of each node that is up."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def take(free: Sequence[dict[str, float]], bundle: Bundle) -> bool:
    """Take a bundle from the first node that has it; returns whether one has.

    Args:
        free: resources left on each node; changed in place.
    """
    for node in free:
        if all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in bundle.items()):
            for name, amount in bundle.items():
                node[name] = node.get(name, 0.0) - amount
            return True
    return False


def fits(nodes: Sequence[Bundle], bundles: Sequence[Bundle]) -> bool:
    """Whether nodes with these resources have room for all bundles, each on one node."""
    free = [dict(node) for node in nodes]
    # In a run's order its workers come first, as when it starts; large ones first would find more room than Ray does.
    return all(take(free, bundle) for bundle in bundles)


def total(nodes: Sequence[Bundle], resource: str) -> float:
    """Amount of a resource over all nodes."""
    return sum(node.get(resource, 0.0) for node in nodes)


def described(nodes: Sequence[Bundle]) -> str:
    """The nodes in words; those without CPUs and GPUs, such as a head that only schedules, are left out."""
    counts: dict[str, int] = {}
    for node in nodes:
        cpus, gpus = node.get("CPU", 0.0), node.get("GPU", 0.0)
        if cpus or gpus:
            text = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
            counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{count} x ({text})" for text, count in counts.items()) or "no node with CPUs"


def described_bundles(bundles: Sequence[Bundle]) -> str:
    """The bundles in words, equal ones counted."""
    counts: dict[str, int] = {}
    for bundle in bundles:
        text = " + ".join(f"{amount:g} {name}" for name, amount in bundle.items())
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{count} x ({text})" for text, count in counts.items())


def may_grow() -> bool:
    """Whether nodes may still join: on every cluster but one that this process started on this machine."""
    in_a_worker = ray.is_initialized() and ray.get_runtime_context().worker.mode == ray.WORKER_MODE
    return in_a_worker or bool(os.environ.get("RAY_ADDRESS"))


def wait_for_nodes(
    requests: Sequence[Sequence[Bundle]],
    num_fitting: Callable[[Sequence[Bundle]], int],
    at_least: int,
    patience_s: float,
    say: Say,
) -> list[dict[str, float]]:
    """Ask the cluster for nodes until what is requested fits; returns the nodes that are up at the end.

    Each request is a placement group, as Ray Train's own: an autoscaler starts nodes for it, it reserves nothing on
    nodes that are up for longer than this call, it does not replace other jobs' requests as
    ``ray.autoscaler.sdk.request_resources`` does, and it ends with this process.

    Args:
        requests: groups of bundles; an autoscaler provides a whole group or nothing of it.
        num_fitting: how many of the requests fit on nodes with these resources.
        at_least: number of requests without which the caller cannot start. When so many fit, the wait goes on only as
            long as an autoscaler is adding nodes.
        patience_s: bound of the wait.
        say: called at the start, every ten seconds, and at the end.
    """
    nodes = live_nodes()
    if num_fitting(nodes) >= len(requests) or patience_s <= 0 or not may_grow():
        return nodes
    started = grew = spoke = time.monotonic()
    everything = [bundle for request in requests for bundle in request]
    say(
        f"asked the cluster for {described_bundles(everything)}; up: {described(nodes)}; waiting up to {patience_s:g} s"
    )
    groups = [placement_group([dict(bundle) for bundle in request], strategy="PACK") for request in requests]
    try:
        while True:
            time.sleep(POLL_S)
            now, before = time.monotonic(), len(nodes)
            nodes = live_nodes()
            found = num_fitting(nodes)
            coming = num_nodes_coming()
            if len(nodes) != before or coming:
                grew = now
            has_settled = found >= at_least and now - grew > QUIET_S
            if found >= len(requests) or has_settled or now - started > patience_s:
                say(f"after {now - started:.0f} s the cluster has {described(nodes)}")
                return nodes
            if now - spoke > SAY_EVERY_S:
                spoke = now
                joining = f", {coming} joining" if coming else ""
                say(f"waiting for nodes, {now - started:.0f} of {patience_s:g} s; up: {described(nodes)}{joining}")
    finally:
        for group in groups:
            remove_placement_group(group)


def num_nodes_coming() -> int:
    """Number of nodes that an autoscaler has started or is starting and that have not joined; 0 without one."""
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    try:
        if is_autoscaler_v2():
            status = get_cluster_status(ray.get_runtime_context().gcs_address)
            return len(status.pending_nodes) + sum(launch.launch_count for launch in status.pending_launches)
        told = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}").get("autoscaler_report") or {}
    except Exception:  # news for a progress line, by interfaces that Ray does not promise
        return 0
    return len(told.get("pending_nodes") or []) + sum((told.get("pending_launches") or {}).values())
