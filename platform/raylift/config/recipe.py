"""A recipe: everything that decides what a run learns, as one frozen, typed tree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raylift.config import tree
from raylift.config.codec import to_dict
from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.optimizers import DEFAULT_GROUP, OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.config.tree import FREE
from raylift.core.errors import ConfigError

RECIPE_VERSION = 1


@dataclass(frozen=True)
class ScaleConfig:
    """Resources of a run. By the world-size law they change how fast a run learns, not what it learns.

    Attributes:
        workers: Ray Train workers, each a DistributedDataParallel rank; 0 trains inside the driver, without Ray.
        cpus_per_worker: logical CPUs reserved per worker; leave some for the data tasks.
        gpu: "auto" uses GPUs if the nodes that are up have any, "always" requires them (and makes a cluster that
            starts at zero start GPU nodes), "never" uses none.
        gpus_per_worker: GPUs per worker that uses them: whole ones, or a fraction of a shared one, such as 0.5.
        precision: "auto" is bfloat16 autocast on a GPU and float32 on a CPU.
        loaders: processes per worker that load its batches; 0 takes one per CPU that the node has to spare, up to 8.
        data_cpus: logical CPUs per loader.
        prefetch_steps: global batches that a worker prefetches.
        feed_on, train_on: Ray node labels of the loaders' and of the workers' nodes, as "role=cpu" or
            "role=cpu,zone=a"; empty places them anywhere.
        cache_gib: most disk space on each node for copies of the shards of a remote data set, GiB; 0 makes no copies.
        cache_folder: local folder of these copies (default: a folder of the user's in the system's temporary folder).
        max_failures: number of worker failures that a run survives.
        wait_for_nodes_s: how long a run waits for the nodes that it needs to join the cluster, in seconds; a Ray that
            the run starts itself is not waited for.
    """

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpu: Literal["auto", "always", "never"] = "auto"
    gpus_per_worker: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    loaders: int = 0
    data_cpus: float = 0.5
    prefetch_steps: int = 4
    feed_on: str = ""
    train_on: str = ""
    cache_gib: float = 20.0
    cache_folder: str = ""
    max_failures: int = 3
    wait_for_nodes_s: float = 600.0

    def __post_init__(self) -> None:
        if self.workers < 0 or self.cpus_per_worker <= 0 or self.data_cpus <= 0:
            raise ConfigError(
                f"scale.workers {self.workers}, cpus_per_worker {self.cpus_per_worker}, data_cpus {self.data_cpus}",
                "use 0 or more workers and positive CPUs (fractions are allowed)",
            )
        if self.loaders < 0 or self.cache_gib < 0:
            raise ConfigError(
                f"scale.loaders {self.loaders}, cache_gib {self.cache_gib:g}",
                "use 0 (as many loaders as the node can spare; no copies) or more",
            )
        for selector in (self.feed_on, self.train_on):
            node_labels(selector)
        share = self.gpus_per_worker
        if share <= 0 or (share > 1 and share != int(share)):
            raise ConfigError(f"scale.gpus_per_worker is {share}", "use a fraction in (0, 1], or whole GPUs")
        if self.prefetch_steps < 1 or self.max_failures < 0 or self.wait_for_nodes_s < 0:
            raise ConfigError(
                "scale.prefetch_steps, max_failures or wait_for_nodes_s is too small",
                "use prefetch_steps >= 1, max_failures >= 0 and wait_for_nodes_s >= 0",
            )


def node_labels(text: str) -> dict[str, str]:
    """Ray node labels written as ``key=value,key=value``; none if the text is empty.

    Raises:
        ConfigError: not of that form.
    """
    labels: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or not equals or not value or key in labels:
            raise ConfigError(f"node labels {text!r}", 'write scale.feed_on="role=cpu" or "role=cpu,zone=a"')
        labels[key] = value
    return labels


@dataclass(frozen=True)
class Recipe:
    """What to train and how; the locations of the data and the results are arguments of the run.

    Attributes:
        name: "model/variant", as in the catalogue.
        model: the model's config; its class says which model.
        data, schedule, evaluation, scale: see each class.
        optimizers: optimizer of each parameter group of the model; groups that are not named use "default".
        start_from: another run's folder or checkpoint (``.../step-NNNNNNNN.pt``), local or s3://, to initialise the
            weights from; for a folder, its last checkpoint is used, and its run must have finished.
        seed: seed of every random draw.
    """

    name: str
    model: Any
    data: DataConfig = field(default_factory=DataConfig)
    optimizers: Mapping[str, OptimizerConfig] = field(default_factory=lambda: {DEFAULT_GROUP: OptimizerConfig()})
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig, metadata=FREE)
    scale: ScaleConfig = field(default_factory=ScaleConfig, metadata=FREE)
    start_from: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name.count("/") != 1:
            raise ConfigError(f"recipe name {self.name!r}", "name it model/variant")
        if DEFAULT_GROUP not in self.optimizers:
            raise ConfigError(f"optimizers are {sorted(self.optimizers)}", f"one must be called {DEFAULT_GROUP!r}")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}", "use 0 or more")

    @property
    def model_name(self) -> str:
        """The name of the model: the recipe's name before the slash."""
        return self.name.partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the version of this layout."""
        return {"recipe_version": RECIPE_VERSION, **to_dict(self)}

    def to_json(self) -> str:
        """JSON for MLflow, checkpoints and workers; ``models.catalogue.from_json`` reads it."""
        return json.dumps(self.to_dict(), indent=2)

    def flat(self) -> dict[str, str | int | float | bool]:
        """Every value by dotted path, scalars as they are and the rest as JSON, for a tracker."""
        return {
            path: value if isinstance(value, str | int | float | bool) else json.dumps(to_dict(value))
            for path, value in tree.flatten(self).items()
        }

    @property
    def free_paths(self) -> tuple[str, ...]:
        """Paths that a resumed run may change, because they do not decide what is learned."""
        return tuple(tree.free_paths(self))

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over what decides the weights: all values except the free ones and the name."""
        free, later = (*self.free_paths, "name"), tree.later_paths(self)
        deciding = {
            path: to_dict(value)
            for path, value in tree.flatten(self).items()
            if not (path in later and value is None)
            and not any(path == one or path.startswith(f"{one}.") for one in free)
        }
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
