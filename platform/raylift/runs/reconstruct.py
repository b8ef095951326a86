"""A trained checkpoint as a function from images to meshes, shared by the job, the demo and the MLflow model."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from raylift.config.recipe import Recipe
from raylift.core.errors import RayliftError
from raylift.core.inputs.limits import SERVED_RESOLUTION, refuse_above
from raylift.core.model import ReconstructionModel, require_reconstruction
from raylift.core.storage import Storage
from raylift.core.types import Camera, Field, Mesh
from raylift.data.feed.batches import collate
from raylift.data.feed.image_folder import InputImage, make_input
from raylift.data.feed.user_image import assemble_image
from raylift.export.mesh_files import encode_glb
from raylift.export.model_card import write_model_card
from raylift.geometry.iso_surface import extract
from raylift.models import catalogue
from raylift.runs.exported_model import card_sections, export_model
from raylift.runs.finishing import FINISHED_RESOLUTION, Finishing, finish
from raylift.runs.iso_level import kept_level
from raylift.runs.trained_model import TrainedModel, best_entry
from raylift.texturing.bake import field_colors
from raylift.tracking.address import known_address, tracking_beside
from raylift.tracking.tracker import Tracker
from raylift.training.checkpoint import CheckpointStore, find_checkpoints

if TYPE_CHECKING:
    from raylift.tracking.mlflow_tracker import MlflowTracker
    from raylift.tracking.model import Predict


@dataclass(frozen=True)
class Outcome:
    """The result for one image.

    Attributes:
        mesh: on the CPU; without faces if the model finds no surface.
        camera: camera of the reconstruction (B = 1): the image's own, that of its crop, or a predicted one.
        num_evaluations: number of points that the field was evaluated at; 0 for a mesh model.
        seconds: total time.
        notes: what finishing did, for the user to read.
    """

    mesh: Mesh
    camera: Camera
    num_evaluations: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reconstructor:
    """A model in eval mode, with its recipe.

    Attributes:
        model: on ``device``.
        recipe: recipe of the checkpoint.
        where: path of the checkpoint.
        device: "cuda" if available.
        level: iso-level of fields: the recipe's, or with "auto" the one that the checkpoint's last evaluation chose,
            else 0.
    """

    model: ReconstructionModel
    recipe: Recipe
    where: str
    device: torch.device
    level: float = 0.0

    @staticmethod
    def of_trained(trained: TrainedModel) -> Reconstructor:
        """From a trained model.

        Raises:
            ConfigError: it does not reconstruct shapes.
        """
        model, where = require_reconstruction(trained.model, trained.recipe.name), trained.where
        asked = trained.recipe.evaluation.level
        kept = kept_level(where) if trained.level is None else trained.level
        level = kept if asked == "auto" else asked
        return Reconstructor(model, trained.recipe, where, trained.device, level)

    @staticmethod
    def open(path: str | Path, device: str | None = None) -> Reconstructor:
        """From ``.../step-NNNNNNNN.pt`` or the folder of an exported model, local or s3://."""
        return Reconstructor.of_trained(TrainedModel.open(path, device))

    @staticmethod
    def of_run(run: str | Path, device: str | None = None) -> Reconstructor:
        """Load a run's best checkpoint, or the last if none was evaluated.

        Raises:
            CheckpointError: the run has no checkpoint.
        """
        return Reconstructor.of_trained(TrainedModel.of_run(run, device))

    @torch.no_grad()
    def __call__(
        self,
        image: InputImage,
        resolution: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        finishing: Finishing | None = None,
        finishing_progress: Callable[[str], None] | None = None,
    ) -> Outcome:
        """Reconstruct one image.

        Args:
            image: see ``data.feed.image_folder``.
            resolution: cells per edge for the iso-surface; by default the recipe's, or fewer for finishing.
            progress: see ``geometry.iso_surface``.
            finishing: refinement and texture, none by default.
            finishing_progress: see ``runs.finishing``.

        Raises:
            DataError: the image lacks what the recipe conditions on, or the mask that finishing needs.
        """
        wanted = finishing or Finishing()
        wanted.check(image)
        start = time.perf_counter()
        sample = assemble_image(image.rgba, image.depth, image.camera, self.model.request, image.name)
        batch = collate([sample]).to(self.device)
        found = self.model.reconstruct(batch)[0]
        shape, camera = found.shape, found.camera.to("cpu")
        num_evaluations, generated = 0, None
        if isinstance(shape, Field):
            default = FINISHED_RESOLUTION if wanted.is_needed else self.recipe.evaluation.resolution
            mesh, stats = extract(shape, resolution or default, level=self.level, progress=progress)
            num_evaluations, generated = stats.num_evaluations, field_colors(shape)
        else:
            mesh = shape.to("cpu")
        is_own = batch.camera is not None and torch.equal(camera.rotation, batch.camera.rotation.to("cpu"))
        is_known = is_own and image.camera_source == "sidecar"
        done = finish(mesh, camera, image, self.model.request, generated, wanted, finishing_progress, is_known)
        return Outcome(done.mesh, done.camera, num_evaluations, time.perf_counter() - start, done.notes)


def load_predictor(folder: Path) -> Predict:
    """What the MLflow model calls: a table of images to a table of meshes. A bad image does not affect the others.

    Args:
        folder: of an exported model.
    """
    reconstructor = Reconstructor.open(folder)

    def predict(inputs: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        resolution = int(params.get("resolution", 128))
        refuse_above(SERVED_RESOLUTION, resolution, "resolution", "cells per edge", "ask for a coarser surface")
        return pd.DataFrame([_predict_row(reconstructor, row, resolution) for row in inputs.to_dict("records")])

    return predict


def _predict_row(reconstructor: Reconstructor, row: dict[Any, Any], resolution: int) -> dict[str, Any]:
    given = {name: row.get(name) for name in ("camera", "depth")}
    camera, depth = (None if value is None or value != value else value for value in given.values())
    try:
        known = camera, None if depth is None else bytes(depth)
        image = make_input("image", bytes(row["image"]), *known, reconstructor.model.request.background)
        mesh = reconstructor(image, resolution).mesh
        glb = encode_glb(mesh)
    except RayliftError as error:
        return {"glb": None, "num_vertices": 0, "num_faces": 0, "problem": str(error)}
    return {"glb": glb, "num_vertices": len(mesh.vertices), "num_faces": len(mesh.faces), "problem": ""}


def open_run_tracker(run: str | Path, tracking: str = "") -> MlflowTracker:
    """The tracker of a run that was trained before; it continues the same MLflow run.

    Args:
        run: folder of the run, local or s3://.
        tracking: MLflow tracking URI; by default the one that training used.
    """
    from raylift.runs.worker import RunPaths
    from raylift.tracking.mlflow_tracker import MlflowTracker

    text = str(run).rstrip("/")
    storage, _, name = (text if "://" in text else str(Path(text).absolute())).rpartition("/")
    place = RunPaths("", storage, name)
    beside = tracking_beside(storage)
    described = Storage.at(place.folder)
    known = json.loads(described.read("run.json")) if "run.json" in described.names() else {}
    uri = tracking or known_address(known.get("tracking") or beside)
    recipe = catalogue.from_json(json.dumps(best_entry(CheckpointStore(find_checkpoints(run))).recipe))
    experiment = known.get("experiment") or recipe.model_name
    return MlflowTracker(uri, experiment, name, place.spool, run_key=place.run_key, system_metrics_every_s=0.0)


def write_card(run: str | Path, path: Path) -> Path:
    """The model card of a run's best checkpoint, with the scores of ``raylift evaluate`` if they are in its folder."""
    store = CheckpointStore(find_checkpoints(run))
    return write_model_card(path, **card_sections(store.path(best_entry(store))))


def log_model(tracker: Tracker, checkpoints: str | Path, name: str = "model") -> None:
    """Log a run's best checkpoint as an MLflow model that ``mlflow.pyfunc.load_model`` reconstructs with.

    Args:
        tracker: tracker of the run.
        checkpoints: folder of the run, or of its checkpoints.
        name: the model loads as ``runs:/<run id>/<name>``.
    """
    from raylift.tracking.model import save_model  # MLflow takes seconds to import

    trained = TrainedModel.of_run(checkpoints, "cpu")
    require_reconstruction(trained.model, trained.recipe.name)
    with tempfile.TemporaryDirectory(prefix="raylift-") as work:
        exported = Path(work) / "exported"
        export_model(trained, exported)
        tracker.log_model(save_model(Path(work) / name, exported, load_predictor), name)
