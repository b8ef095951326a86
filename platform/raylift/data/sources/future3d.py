"""3D-FUTURE: textured furniture with style, category and material in model_info.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.core.errors import DataError
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.mesh_reading import file_stamp, read_mesh_in_folder
from raylift.data.sources.registry import source

_INFO = "model_info.json"
_PARTS = "3D-FUTURE-model*"
"""Folders of models in the published archives: ``3D-FUTURE-model``, or ``3D-FUTURE-model-part1`` and so on."""
_MESHES = ("raw_model.obj", "normalized_model.obj")


@source("future3d", delivers="shapes", help="3D-FUTURE")
@dataclass(frozen=True)
class Future3dSource:
    """``model_info.json`` and one folder per model: ``MODEL_ID/raw_model.obj``, else the normalised one.

    Both may be in ``path``, or in folders ``3D-FUTURE-model`` or ``3D-FUTURE-model-partN`` of it. Tags may be null;
    their spelling varies in case and around slashes, and the type is what is before the first slash.
    """

    path: Path
    kind: str = "future3d"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with ``model_info.json``, or with a folder of models that has one."""
        return any((folder / _INFO).is_file() for folder in _folders(path))

    def items(self) -> list[SourceItem]:
        rows: dict[str, dict[str, Any]] = {}
        for file in self._info_files():
            refuse_large_file(file)
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
                rows |= {str(row["model_id"]): row for row in found}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{file} is damaged: {type(error).__name__}: {error}", "download it again") from error
        return [self._item(model, rows[model]) for model in sorted(rows)]

    def _info_files(self) -> list[Path]:
        files = [folder / _INFO for folder in _folders(self.path) if (folder / _INFO).is_file()]
        if not files:
            raise DataError(
                f"there is no {self.path / _INFO}",
                f"point --source future3d:PATH at the folder that holds it, or that holds {_PARTS}",
            )
        return files

    def _item(self, model: str, row: dict[str, Any]) -> SourceItem:
        category, group = _tag(row, "category"), _tag(row, "super-category")
        reference = self._reference(model)
        return SourceItem(
            id=f"3d-future/{model}",
            name=(category or group or "unknown").split("/")[0],
            category=group or category or "unknown",
            reference=reference,
            licence="3D-FUTURE terms of use",
            style=_tag(row, "style"),
            material=_tag(row, "material"),
            tags=tuple(word for word in (category, _tag(row, "theme")) if word),
            stamp=file_stamp(self.path / reference),
        )

    def _reference(self, model: str) -> str:
        """Path of a model's mesh in ``path``; one without a mesh stays listed, so that it is reported as set aside."""
        places = [folder / model / mesh for folder in _folders(self.path) for mesh in _MESHES]
        found = next((place for place in places if place.is_file()), self.path / model / _MESHES[0])
        return found.relative_to(self.path).as_posix()

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return read_mesh_in_folder(self.path, item.reference, max_bytes)


def _folders(path: Path) -> list[Path]:
    return [path, *sorted(folder for folder in path.glob(_PARTS) if folder.is_dir())]


def _tag(row: dict[str, Any], name: str) -> str:
    """A tag in lower case, without spaces around slashes; empty if it is null or not a text."""
    value = row.get(name)
    if not isinstance(value, str):
        return ""
    return re.sub(r"\s*/\s*", "/", " ".join(value.split())).lower()
