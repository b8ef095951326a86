"""A recipe: everything that decides what a run learns, as one frozen, typed tree."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raylift.config import tree
from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.optimizers import DEFAULT_GROUP, OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.config.tree import FREE
from raylift.core.errors import ConfigError

RECIPE_VERSION = 1


@dataclass(frozen=True)
class ScaleConfig:
    """What a run is given to run on. By the world-size law it changes how fast a run learns, not what.

    Attributes:
        workers: Ray Train workers, each a DistributedDataParallel rank; 0 trains inside the driver, without Ray.
        cpus_per_worker: logical CPUs a worker reserves; leave some for the data tasks.
        gpu: "auto" takes GPUs for the workers where the cluster has enough of them, "always" insists, "never" does
            without.
        gpus_per_worker: of a worker that gets them: whole ones, or a share of one, such as 0.5, that others share too.
        precision: "auto" is bfloat16 autocast on a GPU and float32 on a CPU.
        data_cpus: logical CPUs of one data task.
        prefetch_steps: global batches a worker fetches ahead.
        max_failures: worker failures a run survives.
    """

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpu: Literal["auto", "always", "never"] = "auto"
    gpus_per_worker: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    data_cpus: float = 0.5
    prefetch_steps: int = 4
    max_failures: int = 3

    def __post_init__(self) -> None:
        if self.workers < 0 or self.cpus_per_worker <= 0 or self.data_cpus <= 0:
            raise ConfigError(
                f"scale.workers {self.workers}, cpus_per_worker {self.cpus_per_worker}, data_cpus {self.data_cpus}",
                "give 0 or more workers and positive CPUs (fractions are fine)",
            )
        share = self.gpus_per_worker
        if share <= 0 or (share > 1 and share != int(share)):
            raise ConfigError(f"scale.gpus_per_worker is {share}", "give a share in (0, 1] of a GPU, or whole ones")
        if self.prefetch_steps < 1 or self.max_failures < 0:
            raise ConfigError("scale.prefetch_steps must be at least 1 and max_failures 0 or more", "mend them")


@dataclass(frozen=True)
class Recipe:
    """What to train and how; where the data lies and where results go are arguments of the run.

    Attributes:
        name: "model/variant", as in the catalogue.
        model: the model's config; its class says which model.
        data, schedule, evaluation, scale: see each class.
        optimizers: by parameter group of the model; those that are not named take "default".
        start_from: another run's folder or checkpoint (``.../step-NNNNNNNN.pt``), local or s3://, whose weights this
            run starts from instead of from the seed; of a folder the last checkpoint, when that run is finished.
        seed: every random draw follows from it.
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
            raise ConfigError(f"seed is {self.seed}", "give 0 or more")

    @property
    def model_name(self) -> str:
        """The part of the name before the slash: which model this is."""
        return self.name.partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the version of this layout."""
        return {"recipe_version": RECIPE_VERSION, **tree.to_dict(self)}

    def to_json(self) -> str:
        """What goes to MLflow, into checkpoints and to the workers; ``recipes.from_json`` reads it back."""
        return json.dumps(self.to_dict(), indent=2)

    def flat(self) -> dict[str, str | int | float | bool]:
        """Every value by dotted path, scalars as they are and the rest as JSON, for a tracker."""
        return {
            path: value if isinstance(value, str | int | float | bool) else json.dumps(tree.to_dict(value))
            for path, value in tree.flatten(self).items()
        }

    @property
    def free_paths(self) -> tuple[str, ...]:
        """What a resumed run may change, because it does not decide what is learned."""
        return tuple(tree.free_paths(self))

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over what decides the weights: all but free values and the name."""
        free = (*self.free_paths, "name")
        deciding = {
            path: tree.to_dict(value)
            for path, value in tree.flatten(self).items()
            if not any(path == one or path.startswith(f"{one}.") for one in free)
        }
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
