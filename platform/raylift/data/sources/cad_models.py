"""CAD models next to annotated photographs, as PASCAL3D+ and its relatives keep them: ``CAD/CATEGORY/01.off``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from raylift.core.errors import DataError
from raylift.data.shapes.normalise import NormalisedScene, normalise_with_frame
from raylift.data.sources.base import LoadedScene
from raylift.data.sources.mesh_reading import file_stamp, read_mesh_in_folder
from raylift.geometry.viewpoints import PASCAL3D_TO_WORLD

_MAX_FACES = 2_000_000
_AGAIN = "download the data set again: a folder per category with 01.off, 02.off and so on"


@dataclass(frozen=True)
class CadFolder:
    """The folder ``CAD`` of a release: ``CATEGORY/NN.off``, numbered from 1, Z up and facing -Y.

    Attributes:
        path: the folder.
    """

    path: Path

    @staticmethod
    def within(release: Path) -> CadFolder:
        """The models of a release, or the folder of models itself.

        Raises:
            DataError: no folder with a category of .off files.
        """
        folder = next((one for one in (release / "CAD", release) if any(one.glob("*/*.off"))), None)
        if folder is None:
            raise DataError(f"there are no CAD models in {release / 'CAD'}", _AGAIN)
        return CadFolder(folder)

    def references(self) -> list[str]:
        """``CATEGORY/NN.off`` of every model, sorted."""
        found = (file.relative_to(self.path).as_posix() for file in self.path.glob("*/*.off"))
        return sorted(name for name in found if re.fullmatch(r"[^/]+/\d+\.off", name))

    def reference(self, category: str, number: int) -> str:
        return f"{category}/{number:02d}.off"

    def stamp(self, category: str, number: int) -> str:
        """A text that changes with the model's file; empty if it is missing."""
        return file_stamp(self.path / self.reference(category, number))

    def read(self, reference: str, max_bytes: int) -> LoadedScene:
        """A model with Y up and facing +Z, in the units of its file.

        Raises:
            DataError: missing, too large, or broken.
        """
        loaded = read_mesh_in_folder(self.path, reference, max_bytes)
        vertices = loaded.scene.vertices @ np.array(PASCAL3D_TO_WORLD, np.float32).T
        return LoadedScene(replace(loaded.scene, vertices=vertices), loaded.notes)

    def normalised(self, category: str, number: int, max_bytes: int) -> NormalisedScene:
        """A model in the common frame, and its place in the file's own units.

        Raises:
            DataError: the category has no folder, the folder has no such model, or the model is broken.
        """
        folder = self.path / category
        if not folder.resolve().is_relative_to(self.path.resolve()) or not folder.is_dir():
            raise DataError(f"there is no folder of CAD models {folder}", _AGAIN)
        reference = self.reference(category, number)
        if not (self.path / reference).is_file():
            count = len(list(folder.glob("*.off")))
            raise DataError(f"there is no CAD model {reference} ({category} has {count})", _AGAIN)
        return _normalised(self, reference, max_bytes, file_stamp(self.path / reference))


@lru_cache(maxsize=32)
def _normalised(cads: CadFolder, reference: str, max_bytes: int, stamp: str) -> NormalisedScene:
    return normalise_with_frame(cads.read(reference, max_bytes).scene, _MAX_FACES)
