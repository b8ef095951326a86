"""Ready sweeps and tables, which come with the package and are named without a folder."""

from __future__ import annotations

import difflib
from pathlib import Path

from raylift.core.errors import ConfigError


def ready_names(folder: Path) -> list[str]:
    """The names of a folder's JSON files."""
    return sorted(path.stem for path in folder.glob("*.json"))


def find_file(given: Path, ready: Path) -> Path:
    """The JSON file that a user gave: a path, or the name of a ready one.

    Args:
        given: what the user typed.
        ready: folder of the ready files.

    Raises:
        ConfigError: a name, and no ready file has it.
    """
    if given.suffix == ".json" or given.name != str(given) or given.is_file():
        return given
    names = ready_names(ready)
    if given.name in names:
        return ready / f"{given.name}.json"
    near = difflib.get_close_matches(given.name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"ready ones: {', '.join(names)}; or pass a JSON file"
    raise ConfigError(f"nothing ready is called {given.name!r}", hint)
