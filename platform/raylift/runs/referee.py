"""Scores meshes that any program made of a data set's held-out images, as if a model had just made them.

A file belongs to a sample (``ID#VIEW``) or to an object by its name: that of an exported image
(``data.feed.image_export``), of an evaluation's own meshes (``ID_VIEW.glb``, where characters other than letters,
digits, "_", "." and "-" are "_"), or ``ID.glb``. In a folder tree, the path below the given folder is the name.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from raylift.config.evaluation import EvaluationConfig
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import Carry, LossOutput, Phase, ReconstructionModel
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Mesh, Reconstruction, SampleRequest
from raylift.data.feed.image_export import exported_name
from raylift.data.feed.stream import chosen_entries, evaluation_views
from raylift.data.shapes.record import load_view
from raylift.data.sources.mesh_reading import MESH_SUFFIXES, read_mesh_in_folder
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import Progress
from raylift.export.mesh_files import file_stem
from raylift.export.parts import displayed_colors, split_into_parts
from raylift.geometry.cameras import canonical_camera
from raylift.rendering.scene import Scene
from raylift.runs.evaluate import Evaluated, evaluate_run
from raylift.runs.reconstruct import Reconstructor

MAX_BYTES = 512 << 20
_SHOWN = 6


@dataclass(frozen=True)
class MeshFolder:
    """A folder of meshes, matched with samples.

    Attributes:
        root: the folder.
        files: path below it, by sample.
        unused: files that belong to no sample.
        missing: samples without a file.
    """

    root: Path
    files: Mapping[str, str]
    unused: tuple[str, ...]
    missing: tuple[str, ...]

    @staticmethod
    def match(root: Path, samples: Sequence[str]) -> MeshFolder:
        """Match a folder's meshes with samples, ``ID#VIEW``.

        Raises:
            DataError: no such folder, no mesh in it, two meshes of one name, or none that belongs to a sample.
        """
        if not root.is_dir():
            raise DataError(f"{root} is not a folder", "point --meshes at a folder of meshes named by their objects")
        paths = sorted(
            path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in MESH_SUFFIXES
        )
        if not paths:
            raise DataError(f"found no mesh under {root}", f"use files ending in {', '.join(MESH_SUFFIXES)}")
        by_name: dict[str, str] = {}
        for path in paths:
            name = file_stem(path.rpartition(".")[0])
            if name in by_name:
                raise DataError(f"{by_name[name]} and {path} have one name", "keep one of the two formats")
            by_name[name] = path
        files = {sample: found for sample in samples if (found := _file_of(sample, by_name)) is not None}
        if not files:
            raise DataError(
                f"no file under {root} belongs to a held-out object: {_some(paths)}",
                f"name them by their objects, such as {_stem(samples[0])}.glb",
            )
        used = set(files.values())
        return MeshFolder(
            root,
            files,
            tuple(path for path in paths if path not in used),
            tuple(sample for sample in samples if sample not in files),
        )

    def require_all(self) -> None:
        """Check that every sample has a mesh.

        Raises:
            DataError: some have none; the message names the nearest files.
        """
        if not self.missing:
            return
        names = {file_stem(path.rpartition(".")[0]): path for path in self.unused}
        near = [
            f"{sample} (is it {names[close[0]]}?)"
            if (close := difflib.get_close_matches(_stem(sample), list(names), 1, 0.6))
            else sample
            for sample in self.missing
        ]
        raise DataError(
            f"{len(self.missing)} of {len(self.missing) + len(self.files)} samples have no mesh: {_some(near)}",
            "rename the files, or let missing meshes count as the worst: --allow-missing",
        )


class GivenMeshes(ReconstructionModel):
    """Meshes of a folder in place of reconstructions; a sample without one has a mesh without faces.

    Args:
        folder: the meshes.
        image_px: side of the images that baselines see.
    """

    def __init__(self, folder: MeshFolder, image_px: int) -> None:
        super().__init__()
        self.folder, self.image_px = folder, image_px
        # The evaluation asks the model's device of its parameters.
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)
        self._read = lru_cache(maxsize=1)(self._read_file)  # an object's views may share a file

    @property
    def phases(self) -> tuple[Phase, ...]:
        """None: there is nothing to train."""
        return ()

    @property
    def request(self) -> SampleRequest:
        """The image alone, so baselines get no more."""
        return SampleRequest(self.image_px)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        raise ConfigError("given meshes are not trained", "train a recipe: raylift recipes")

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        camera = canonical_camera() if batch.camera is None else batch.camera
        return [
            Reconstruction(sample, self._mesh(sample), camera if len(camera) == 1 else camera[slice(row, row + 1)])
            for row, sample in enumerate(batch.ids)
        ]

    def _mesh(self, sample: str) -> Mesh:
        path = self.folder.files.get(sample)
        return Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)) if path is None else self._read(path)

    def _read_file(self, path: str) -> Mesh:
        return colored_mesh(read_mesh_in_folder(self.folder.root, path, MAX_BYTES).scene)


def colored_mesh(scene: Scene) -> Mesh:
    """A scene as one mesh, whose vertices have the colours of materials and textures; none if all is plain white."""
    parts = split_into_parts(scene)
    firsts = np.cumsum([0, *(len(part.positions) for part in parts)])
    colors = [displayed_colors(part) for part in parts]
    drawn = np.concatenate(
        [
            np.full(part.positions.shape, 255, np.uint8) if one is None else one
            for part, one in zip(parts, colors, strict=True)
        ]
    )
    return Mesh(
        torch.from_numpy(np.concatenate([part.positions for part in parts])),
        torch.from_numpy(
            np.concatenate([part.indices.astype(np.int64) + first for part, first in zip(parts, firsts, strict=False)])
        ),
        None if all(one is None for one in colors) else torch.from_numpy(drawn / 255.0).float(),
    )


def referee_recipe() -> Recipe:
    """The settings of the evaluation of given meshes: aligned, with the protocol of papers that align as well."""
    config = EvaluationConfig()
    return Recipe(
        "referee/meshes",
        None,
        evaluation=replace(config, align="similarity", protocols=(*config.protocols, "gso"), level=0.0),
    )


def evaluate_meshes(
    meshes: Path,
    recipe: Recipe,
    dataset: ShardedDataset,
    split: str,
    folder: Path,
    panels_of: Sequence[str] = (),
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> Evaluated:
    """Score a folder of meshes; the files and errors of ``evaluate_run``.

    Args:
        recipe: ``referee_recipe`` with overrides.
        allow_missing: whether samples without a mesh count as the worst; otherwise they are an error.

    Raises:
        DataError: not a data set of shapes, meshes that do not match its objects, or a mesh that cannot be read.
    """
    if dataset.manifest.kind != "shapes":
        raise DataError(f"{dataset.uri} has no true shapes", "score meshes on a data set of shapes")
    entries = chosen_entries(dataset, split, recipe.data)
    samples = [f"{entry.id}#{view}" for entry in entries for view in evaluation_views(entry, recipe.data.eval_views)]
    found = MeshFolder.match(meshes, samples)
    if not allow_missing:
        found.require_all()
    model = GivenMeshes(found, load_view(dataset, entries[0].id, 0).rgba.shape[0])
    given = Reconstructor(model, recipe, str(meshes), torch.device("cpu"), 0.0)
    done = evaluate_run(given, recipe, dataset, split, folder, panels_of, progress)
    notes = [f"{len(found.unused)} meshes belong to no sample: {_some(found.unused)}"] if found.unused else []
    return replace(done, report=replace(done.report, notes=(*done.report.notes, *notes)))


def _file_of(sample: str, by_name: Mapping[str, str]) -> str | None:
    """A sample's own mesh, else that of its object, else one with the last part of the object's id."""
    object_id, _, view = sample.rpartition("#")
    own = (exported_name(object_id, int(view)), file_stem(sample))
    names = (*own, _stem(sample), file_stem(object_id.rpartition("/")[2]))
    return next((by_name[name] for name in names if name in by_name), None)


def _stem(sample: str) -> str:
    return file_stem(sample.rpartition("#")[0])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
