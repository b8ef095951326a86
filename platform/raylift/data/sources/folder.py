"""A folder tree of mesh files: one object per file, the parent folder its category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.core.inputs.limits import CAPTION_BYTES, refuse_large_file
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.mesh_reading import MESH_SUFFIXES, file_stamp, read_mesh_in_folder
from raylift.data.sources.registry import source


@source("folder", delivers="shapes", help="OBJ, GLB, PLY, STL, OFF in any folder tree", last=True)
@dataclass(frozen=True)
class FolderSource:
    """OBJ, GLB, glTF, PLY, STL and OFF files anywhere under a folder; Y up and facing +Z.

    ``chairs/oak.obj`` has category "chairs" and name "oak". A file ``oak.txt`` next to it holds its caption's noun.
    Files that differ only in the suffix are separate objects.
    """

    path: Path
    kind: str = "folder"

    @staticmethod
    def recognises(path: Path) -> bool:
        """Anything that no other source recognises."""
        return True

    def items(self) -> list[SourceItem]:
        if not self.path.is_dir():
            raise DataError(f"{self.path} is not a folder", "point --source folder:PATH at a folder of mesh files")
        files = sorted(
            path.relative_to(self.path) for path in self.path.rglob("*") if path.suffix.lower() in MESH_SUFFIXES
        )
        if not files:
            raise DataError(f"found no mesh under {self.path}", f"use files ending in {', '.join(MESH_SUFFIXES)}")
        return [
            SourceItem(
                id=f"folder/{file.as_posix()}",
                name=self._name(file),
                category=file.parent.name if len(file.parts) > 1 else "unknown",
                reference=file.as_posix(),
                stamp=file_stamp(self.path / file),
            )
            for file in files
        ]

    def _name(self, file: Path) -> str:
        text = (self.path / file).with_suffix(".txt")
        if text.is_file():
            refuse_large_file(text, CAPTION_BYTES)
            lines = text.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[0].strip()
        return file.stem.replace("_", " ").replace("-", " ")

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return read_mesh_in_folder(self.path, item.reference, max_bytes)
