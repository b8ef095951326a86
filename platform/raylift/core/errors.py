"""Errors shown to users: each names what is wrong and what to do about it."""

from __future__ import annotations


class RayliftError(Exception):
    """Base of every error meant for a user.

    Args:
        problem: what is wrong, naming the file, value or object.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  remedy: {remedy}" if remedy else problem)

    def __reduce__(self) -> tuple[type[RayliftError], tuple[str, str]]:
        # Errors cross process boundaries on their way back from Ray workers.
        return type(self), (self.problem, self.remedy)


class ConfigError(RayliftError):
    """A recipe, an override or a command line that cannot work."""


class DataError(RayliftError):
    """A source, shard, image or mesh that cannot be used."""


class StorageError(RayliftError):
    """A folder or object store that cannot be read or written."""


class WeightsError(RayliftError):
    """Pretrained weights that are missing or do not fit."""


class CheckpointError(RayliftError):
    """A checkpoint that is damaged, or that belongs to another recipe."""


class TrainingError(RayliftError):
    """A run that must not continue."""


class NonFiniteError(TrainingError):
    """A loss or gradient that is not finite."""
