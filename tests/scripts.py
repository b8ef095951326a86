"""The modules that jobs start: starting each as a process imports Ray and MLflow anew."""

from __future__ import annotations

import importlib
from types import ModuleType


def load_job(name: str) -> ModuleType:
    """The module that ``jobs/NAME.py`` starts."""
    return load_script("jobs", name)


def load_script(folder: str, name: str) -> ModuleType:
    """The module that ``FOLDER/NAME.py`` starts."""
    return importlib.import_module(f"raylift.commands.{name}")
