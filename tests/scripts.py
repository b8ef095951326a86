"""Jobs as modules: they are scripts in no package, and starting each as a process imports Ray and MLflow anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def load_job(name: str) -> ModuleType:
    """``jobs/NAME.py`` as a module."""
    return load_script("jobs", name)


def load_script(folder: str, name: str) -> ModuleType:
    """``FOLDER/NAME.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_job", ROOT / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
