"""ShapeNetCore v1 and v2 in their published layout."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raylift.core.errors import DataError
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.mesh_reading import file_stamp, read_mesh_in_folder
from raylift.data.sources.registry import source

_SPLITS = {"train": "train", "val": "val", "test": "test"}


@source("shapenet", delivers="shapes", help="ShapeNetCore v1 and v2")
@dataclass(frozen=True)
class ShapeNetSource:
    """``SYNSET/MODEL/model.obj`` (v1) or ``SYNSET/MODEL/models/model_normalized.obj`` (v2); ``taxonomy.json`` and the
    official ``all.csv`` (id, synsetId, subSynsetId, modelId, split) are used if present.

    ShapeNetCore is Y up and faces -Z, so it is rotated by half a turn about Y.
    """

    path: Path
    kind: str = "shapenet"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder of synsets."""
        return path.is_dir() and any(re.fullmatch(r"0\d{7}", child.name) for child in path.iterdir())

    def items(self) -> list[SourceItem]:
        if not self.path.is_dir():
            raise DataError(f"{self.path} is not a folder", "point --source shapenet:PATH at the folder of synsets")
        names, splits = self._names(), self._splits()
        found = []
        for synset in sorted(folder for folder in self.path.iterdir() if folder.is_dir() and folder.name.isdigit()):
            for model in sorted(folder for folder in synset.iterdir() if folder.is_dir()):
                file = next(
                    (name for name in ("models/model_normalized.obj", "model.obj") if (model / name).is_file()), None
                )
                category = names.get(synset.name, synset.name)
                found.append(
                    SourceItem(
                        id=f"shapenet/{synset.name}/{model.name}",
                        name=category,
                        category=category,
                        # An object without its file stays listed, so that it is reported as set aside.
                        reference=f"{synset.name}/{model.name}/{file or 'model.obj'}",
                        licence="ShapeNet terms of use",
                        split=splits.get((synset.name, model.name), ""),
                        stamp=file_stamp(model / (file or "model.obj")),
                    )
                )
        if not found:
            raise DataError(f"found no SYNSET/MODEL folder under {self.path}", "point at the unpacked ShapeNetCore")
        return found

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        loaded = read_mesh_in_folder(self.path, item.reference, max_bytes)
        turned = loaded.scene.vertices * np.array([-1, 1, -1], np.float32)
        return LoadedScene(replace(loaded.scene, vertices=turned), loaded.notes)

    def _names(self) -> dict[str, str]:
        file = self.path / "taxonomy.json"
        if not file.is_file():
            return {}
        refuse_large_file(file)
        try:
            taxonomy = json.loads(file.read_text())
            return {entry["synsetId"]: entry["name"].split(",")[0] for entry in taxonomy}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is damaged: {error}", "download it again, or remove it") from error

    def _splits(self) -> dict[tuple[str, str], str]:
        file = self.path / "all.csv"
        if not file.is_file():
            return {}
        refuse_large_file(file)
        with file.open(newline="") as rows:
            return {
                (row["synsetId"], row["modelId"]): _SPLITS.get(row["split"], "")
                for row in csv.DictReader(rows)
                if {"synsetId", "modelId", "split"} <= set(row)
            }
