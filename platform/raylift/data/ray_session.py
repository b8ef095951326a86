"""Starts Ray: connects to the cluster of this process, or starts one on this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import ray
import ray.data

import raylift
from raylift.core.errors import ConfigError
from raylift.data.private_ray import private_ray


def start_ray(num_cpus: int | None = None) -> None:
    """Connect to the cluster named by RAY_ADDRESS (set in submitted jobs), or start one; no-op if Ray is running.

    One that is started is private: see ``private_ray``. Workers import this package from the same path as this
    process. A busy machine can exceed Ray's fixed start-up timeout of half a minute, so starting is tried three times.

    Raises:
        ConfigError: Ray does not start on this machine.
    """
    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=True)
        return
    package_parent = str(Path(raylift.__path__[0]).resolve().parent)
    path = os.pathsep.join(dict.fromkeys([package_parent, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
    for remaining in (2, 1, 0):
        try:
            with private_ray():
                ray.init(
                    address="local",  # without it, Ray would join any cluster that runs on this machine
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    runtime_env={"env_vars": {"PYTHONPATH": path.rstrip(os.pathsep), "OMP_NUM_THREADS": "1"}},
                )
            return
        except Exception as error:  # Ray raises a bare Exception for a slow start
            ray.shutdown()
            if not remaining:
                raise ConfigError(
                    f"Ray does not start on this machine: {error}",
                    "close other programs and try again, or set RAY_ADDRESS to a running cluster",
                ) from error


def quiet_data_context() -> ray.data.DataContext:
    """Ray Data's settings for this process: order preserved, and no progress output next to ours."""
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.issue_detectors_config.detectors = []
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    return context
