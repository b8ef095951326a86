"""Room for one training on a cluster: the nodes that it needs, the wait for them, and whether it gets GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.config.recipe import ScaleConfig
from raylift.core.errors import ConfigError
from raylift.data.ray_nodes import Bundle, Say, described, described_bundles, fits, live_nodes, total, wait_for_nodes


def training_bundles(scale: ScaleConfig, use_gpu: bool) -> list[Bundle]:
    """What the processes of a training take: the workers, then their data tasks, which may be on other nodes."""
    gpus = {"GPU": scale.gpus_per_worker} if use_gpu else {}
    workers: list[Bundle] = [{"CPU": scale.cpus_per_worker, **gpus} for _ in range(scale.workers)]
    return workers + [{"CPU": scale.data_cpus} for _ in range(scale.workers * max(1, scale.loaders))]


def find_room(scale: ScaleConfig, say: Say) -> bool:
    """Wait until a training fits on the cluster's nodes; returns whether its workers get GPUs, which is also said.

    With ``scale.gpu=auto`` the nodes that are up decide. If too few of them have GPUs, more are waited for, and after
    ``scale.wait_for_nodes_s`` the CPUs are used.

    Raises:
        ConfigError: it does not fit.
    """
    bundles = {use_gpu: training_bundles(scale, use_gpu) for use_gpu in (False, True)}
    if scale.gpu != "auto":
        use_gpu = scale.gpu == "always"
        nodes = _wait(bundles[use_gpu], scale, say)
        _check(nodes, bundles[use_gpu], scale)
        say(f"training on {'GPUs' if use_gpu else 'CPUs'} (scale.gpu={scale.gpu})")
        return use_gpu
    nodes = live_nodes()
    if not total(nodes, "GPU"):
        nodes = _wait(bundles[False], scale, say)
    if total(nodes, "GPU") and not fits(nodes, bundles[True]):
        nodes = _wait(bundles[True], scale, say)
    if fits(nodes, bundles[True]):
        say(f"training on GPUs (scale.gpu=auto): {described(nodes)}")
        return True
    _check(nodes, bundles[False], scale)
    say(
        f"training on CPUs (scale.gpu=auto): the nodes have {total(nodes, 'GPU'):g} GPUs, and {scale.workers} workers"
        f" need {scale.gpus_per_worker:g} each; scale.gpu=always waits for GPUs"
    )
    return False


def _wait(bundles: Sequence[Bundle], scale: ScaleConfig, say: Say) -> list[dict[str, float]]:
    return wait_for_nodes([bundles], lambda nodes: int(fits(nodes, bundles)), 1, scale.wait_for_nodes_s, say)


def _check(nodes: Sequence[Bundle], bundles: Sequence[Bundle], scale: ScaleConfig) -> None:
    if not fits(nodes, bundles):
        raise ConfigError(
            f"{scale.workers} workers and their data tasks need {described_bundles(bundles)}, each on one node; the"
            f" cluster has {described(nodes)}",
            "lower scale.workers, scale.cpus_per_worker, scale.gpus_per_worker or scale.data_cpus (fractions are"
            " fine), set scale.gpu=never, or raise scale.wait_for_nodes_s if nodes are still to join",
        )
