"""A folder tree of mesh files: one object per file, with a category by folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from raylift.core.errors import ConfigError, DataError
from raylift.core.inputs.limits import CAPTION_BYTES, refuse_large_file
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.mesh_reading import MESH_SUFFIXES, file_stamp, read_mesh_in_folder
from raylift.data.sources.registry import source

UNKNOWN = "unknown"
"""Category of files that lie in no folder."""


@source(
    "folder",
    delivers="shapes",
    help="OBJ, GLB, PLY, STL, OFF in any folder tree; folder:PATH#1 takes categories from the first level of folders",
    last=True,
)
@dataclass(frozen=True)
class FolderSource:
    """OBJ, GLB, glTF, PLY, STL and OFF files anywhere under a folder; Y up and facing +Z.

    ``chairs/oak.obj`` has category "chairs" and name "oak". If every file has a folder of its own, such as
    ``chairs/oak/model.obj``, that folder names the object, and the one above it is the category; without one, all
    objects have the category of the folder that was given. A file ``oak.txt`` next to a mesh holds its caption's noun.
    Files that differ only in the suffix are separate objects.

    Attributes:
        path: the folder.
        level: level of folders that are categories: 1 is the first below ``path``, -1 the file's own; 0: one category
            for all; None: as above.
    """

    path: Path
    level: int | None = None
    kind: str = "folder"

    @staticmethod
    def open(place: str, seed: int) -> FolderSource:
        """The source of ``PATH`` or ``PATH#LEVEL``."""
        named = re.fullmatch(r"(.+)#(-?\d+)", place)
        if named is None or Path(place).expanduser().exists():
            return FolderSource(Path(place).expanduser().resolve())
        return FolderSource(Path(named[1]).expanduser().resolve(), int(named[2]))

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
        paths = [PurePosixPath(file.as_posix()) for file in files]
        alone = _have_own_folders(paths)
        categories = self._categories(paths, alone)
        return [
            SourceItem(
                id=f"folder/{file}",
                name=self._caption(file) or _words(file.parent.name if alone else file.stem),
                category=category,
                reference=str(file),
                stamp=file_stamp(self.path / file),
            )
            for file, category in zip(paths, categories, strict=True)
        ]

    def _categories(self, files: Sequence[PurePosixPath], alone: bool) -> list[str]:
        folders = [file.parent.parts for file in files]
        if self.level is None:
            above = [parts[-2] if len(parts) > 1 else self.path.name for parts in folders]
            return above if alone else [parts[-1] if parts else UNKNOWN for parts in folders]
        if self.level == 0:
            return [self.path.name] * len(files)
        index = self.level - 1 if self.level > 0 else self.level
        short = [file for file, parts in zip(files, folders, strict=True) if not -len(parts) <= index < len(parts)]
        if short:
            raise ConfigError(
                f"folder:{self.path}#{self.level}: {short[0]} has no folder at level {self.level}",
                "use a level that every file has, or 0 for one category",
            )
        return [parts[index] for parts in folders]

    def _caption(self, file: PurePosixPath) -> str:
        """The first line of the text next to a mesh; empty without one."""
        text = (self.path / file).with_suffix(".txt")
        if not text.is_file():
            return ""
        refuse_large_file(text, CAPTION_BYTES)
        lines = text.read_text(errors="replace").strip().splitlines()
        return lines[0].strip() if lines else ""

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        return read_mesh_in_folder(self.path, item.reference, max_bytes)


def _have_own_folders(files: Sequence[PurePosixPath]) -> bool:
    """Whether each of several files is alone in a folder below the root."""
    counts = Counter(file.parent for file in files)
    return len(files) > 1 and PurePosixPath() not in counts and max(counts.values()) == 1


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")
