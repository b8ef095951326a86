"""Settings for preparing a data set of any kind: shards, splits and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raylift.core.errors import ConfigError
from raylift.data.prepare.splits import SplitRule
from raylift.data.store.manifest import DataKind


@dataclass(frozen=True)
class PrepareConfig:
    """Settings shared by every kind of data set. The subclass decides which kind is made.

    Attributes:
        objects_per_shard: objects per shard; one task makes one shard, and a restart keeps finished shards.
        val_share: fraction of the objects held out for validation, by a stable hash of the group.
        test_share: fraction of the objects held out for the test.
        val_objects, test_objects: held-out objects per category, instead of the fractions; 0 and 0 use the fractions.
        group_by: grouping that splits never divide.
        max_file_mib: file size limit, MiB; an object with a larger file is set aside.
        seed: seed of all draws.
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
                raise ConfigError(f"{name} is {getattr(self, name)}", "use 1 or more")
        _ = self.split_rule

    @property
    def split_rule(self) -> SplitRule:
        """How many objects are held out."""
        return SplitRule(self.val_share, self.test_share, self.val_objects, self.test_objects)
