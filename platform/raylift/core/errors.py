"""Errors shown to users: each names what is wrong and what to do about it."""

from __future__ import annotations

from raylift.core.redaction import redacted


class RayliftError(Exception):
    """Base of every error meant for a user.

    Args:
        problem: what is wrong, naming the file, value or object.
        remedy: what the user can do about it.

    Secrets in addresses are hidden in both.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = redacted(problem)
        self.remedy = redacted(remedy)
        super().__init__(f"{self.problem}\n  remedy: {self.remedy}" if remedy else self.problem)

    def __reduce__(self) -> tuple[type[RayliftError], tuple[str, str]]:
        # Errors cross process boundaries on their way back from Ray workers.
        return type(self), (self.problem, self.remedy)


class ConfigError(RayliftError):
    """A recipe, an override or a command line that cannot work."""


class DataError(RayliftError):
    """A source, shard, image or mesh that cannot be used."""


class StorageError(RayliftError):
    """A folder or object store that cannot be read or written."""


class MissingFileError(StorageError):
    """A file that does not exist, in a folder or object store that answers."""


class StorageUnavailableError(StorageError):
    """A storage that did not answer for longer than the patience; a later attempt may succeed."""


class WeightsError(RayliftError):
    """Pretrained weights that are missing or do not fit."""


class CheckpointError(RayliftError):
    """A checkpoint that is damaged, or that belongs to another recipe."""


class TrainingError(RayliftError):
    """A run that must not continue."""


class NonFiniteError(TrainingError):
    """A loss or gradient that is not finite."""
