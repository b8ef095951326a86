"""Adds part maps to a data set, from a trained part segmentation or from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import PartSegmenter
from raylift.core.storage import Storage
from raylift.data.images.part_maps import PartMaker, write_part_maps
from raylift.data.images.precomputed_maps import PrecomputedMaps
from raylift.data.images.record import ImageRecord
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import MANIFEST_NAME, Manifest
from raylift.evaluation.images.parts import predict_parts
from raylift.models import catalogue
from raylift.runs.trained_model import best_entry
from raylift.training.checkpoint import CheckpointStore, find_checkpoints

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PartPredictor:
    """A trained part segmentation that predicts part maps.

    Attributes:
        model: in eval mode, on ``device``.
        names: part names, the background first.
        made_by: digest of the checkpoint.
        where: path of the checkpoint.
    """

    model: PartSegmenter
    names: tuple[str, ...]
    made_by: str
    where: str
    device: torch.device

    @staticmethod
    def of_run(run: str | Path, device: str | None = None) -> PartPredictor:
        """Load a run's best checkpoint, or the last if none was evaluated. Needs no pretrained weights.

        Raises:
            CheckpointError: the run has no checkpoint, or one that does not fit.
            ConfigError: the run has another model.
        """
        store = CheckpointStore(find_checkpoints(run))
        entry = best_entry(store)
        model = parts_model(catalogue.from_json(json.dumps(entry.recipe)))
        store.read(entry).load_weights(model)
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        names = ("background", *(f"part {index + 1}" for index in range(model.num_parts)))
        return PartPredictor(model.to(target).eval(), names, f"parts {entry.sha256[:16]}", store.path(entry), target)

    def __call__(self, record: ImageRecord) -> np.ndarray:
        """Probabilities over the stored square, uint8 [K + 1, S, S]."""
        crop = self.model.request.crop
        assert crop is not None
        return predict_parts(self.model.segment, record, crop, self.model.request.image_px, self.device)


def parts_model(recipe: Recipe) -> PartSegmenter:
    """The model of a recipe, which must be a part segmentation.

    Raises:
        ConfigError: it is not.
    """
    model = catalogue.build_model(recipe)
    if not isinstance(model, PartSegmenter):
        raise ConfigError(f"recipe {recipe.name!r} predicts no part maps", "use a part segmentation recipe")
    return model


def check_before(data: str | Path, out: str | Path) -> ShardedDataset:
    """Refuse before training what could not be written afterwards.

    Raises:
        DataError: the data set is not an image collection, or ``out`` already holds a data set.
    """
    dataset = ShardedDataset.open(data)
    if dataset.manifest.kind != "images":
        raise DataError(f"{dataset.uri} is not an image collection", "part maps need images with silhouettes")
    if Storage.at(out).size(MANIFEST_NAME) is not None:
        raise DataError(f"{out} already holds a data set", "use a new folder for --out")
    return dataset


def write_predicted(
    dataset: ShardedDataset, out: str | Path, predictor: PartPredictor, progress: Progress | None = None
) -> Manifest:
    """Write a copy of the data set with the predictor's part maps for every image of every split."""
    make = _counted(predictor, len(dataset.entries()), progress)
    return write_part_maps(dataset, str(out), make, predictor.names, "probabilities", predictor.made_by)


def write_precomputed(
    dataset: ShardedDataset, out: str | Path, maps: PrecomputedMaps, progress: Progress | None = None
) -> Manifest:
    """Write a copy of the data set with part maps made elsewhere."""
    make = _counted(maps, len(dataset.entries()), progress)
    return write_part_maps(dataset, str(out), make, maps.names, maps.encoding, f"files {maps.digest}")


def _counted(make: PartMaker, total: int, progress: Progress | None) -> PartMaker:
    done = 0

    def counting(record: ImageRecord) -> np.ndarray:
        nonlocal done
        maps = make(record)
        done += 1
        if progress is not None:
            progress(done, total)
        return maps

    return counting
