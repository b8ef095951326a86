"""What preparing a data set of any kind is told: shards, splits and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raylift.core.errors import ConfigError
from raylift.data.prepare.splits import SplitRule
from raylift.data.store.manifest import DataKind


@dataclass(frozen=True)
class PrepareConfig:
    """Settings that every kind of data set has. Its subclass decides which kind is made.

    Attributes:
        objects_per_shard: a shard is what one task makes and what a restart keeps.
        val_share: share of the objects held out for validation, by a stable hash of the group.
        test_share: share held out for the test.
        val_objects, test_objects: objects of each category held out, in place of the shares; 0 and 0 use the shares.
        group_by: what is never divided between splits.
        max_file_mib: a larger file is set aside.
        seed: of all draws.
    """

    kind: ClassVar[DataKind]

    objects_per_shard: int = 4
    val_share: float = 0.1
    test_share: float = 0.2
    val_objects: int = 0
    test_objects: int = 0
    group_by: str = "none"
    max_file_mib: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("objects_per_shard", "max_file_mib"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "give at least 1")
        _ = self.split_rule

    @property
    def split_rule(self) -> SplitRule:
        """How many objects are held out."""
        return SplitRule(self.val_share, self.test_share, self.val_objects, self.test_objects)
