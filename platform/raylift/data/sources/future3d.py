"""3D-FUTURE: textured furniture with style, category and material in model_info.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.mesh_reading import file_stamp, read_mesh_in_folder
from raylift.data.sources.registry import source


@source("future3d", delivers="shapes", help="3D-FUTURE")
@dataclass(frozen=True)
class Future3dSource:
    """``model_info.json`` next to one folder per model: ``MODEL_ID/raw_model.obj``, else the normalised one."""

    path: Path
    kind: str = "future3d"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with ``model_info.json``."""
        return (path / "model_info.json").is_file()

    def items(self) -> list[SourceItem]:
        file = self.path / "model_info.json"
        try:
            rows = json.loads(file.read_text())
            return [self._item(row) for row in sorted(rows, key=lambda row: row["model_id"])]
        except OSError:
            raise DataError(f"there is no {file}", "point --source future3d:PATH at the folder that holds it") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file} is damaged: {type(error).__name__}: {error}", "download it again") from error

    def _item(self, row: dict[str, str | None]) -> SourceItem:
        model, category = str(row["model_id"]), row.get("category") or "unknown"
        folder = self.path / model
        file = "raw_model.obj" if (folder / "raw_model.obj").is_file() else "normalized_model.obj"
        return SourceItem(
            id=f"3d-future/{model}",
            name=category.split("/")[0].strip(),
            category=(row.get("super-category") or category).strip().lower(),
            reference=f"{model}/{file}",
            licence="3D-FUTURE terms of use",
            style=(row.get("style") or "").strip(),
            material=(row.get("material") or "").strip(),
            tags=tuple(word.strip() for word in (category.strip(), row.get("theme") or "") if word.strip()),
            stamp=file_stamp(folder / file),
        )

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return read_mesh_in_folder(self.path, item.reference, max_bytes)
