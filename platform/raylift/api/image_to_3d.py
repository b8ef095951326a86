"""A trained model as a function from images to meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from raylift.api.photos import GivenCamera, Photo, input_image
from raylift.api.reconstruction import Reconstruction
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, DataError
from raylift.data.feed.photographs import PixelBox
from raylift.runs.exported_model import export_model
from raylift.runs.finishing import FINISHED_RESOLUTION, Finishing
from raylift.runs.loading import open_trained
from raylift.runs.reconstruct import Reconstructor
from raylift.runs.trained_model import TrainedModel

RESOLUTION = 256
"""Cells per edge of the grid that fields are extracted on, without refinement and texture."""


def load(source: str | Path, device: str | None = None, *, tracking_uri: str = "") -> ImageTo3D:
    """Load a trained model that reconstructs shapes.

        raylift.load("runs/seats")             # a run, at its best checkpoint; local or s3://
        raylift.load("models:/seats@best")     # a registered MLflow model
        raylift.load("seats-model")            # the folder of an exported model
        raylift.load("org/seats")              # an exported model on Hugging Face's hub

    Args:
        source: see ``raylift.runs.loading.open_trained``.
        device: "cpu" or "cuda"; by default a GPU if available.
        tracking_uri: MLflow tracking URI; by default MLFLOW_TRACKING_URI, else ``runs/mlflow.db`` if it exists.

    Raises:
        RayliftError: there is no such model, or it does not reconstruct shapes; with its remedy.
    """
    return ImageTo3D(open_trained(source, device, tracking_uri))


class ImageTo3D:
    """A trained model: call it with an image, or with a list of images.

    Args:
        trained: of a model that reconstructs shapes.

    Raises:
        ConfigError: it does not.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self._trained = trained
        self._reconstructor = Reconstructor.of_trained(trained)

    @property
    def recipe(self) -> Recipe:
        """The recipe that it was trained with."""
        return self._reconstructor.recipe

    @property
    def where(self) -> str:
        """Where it was loaded from."""
        return self._reconstructor.where

    @property
    def device(self) -> torch.device:
        return self._reconstructor.device

    @overload
    def __call__(
        self,
        images: Photo,
        *,
        resolution: int | None = ...,
        refine: int = ...,
        texture_px: int = ...,
        texture_from: Literal["photo", "model"] = ...,
        camera: GivenCamera | None = ...,
        depth: np.ndarray | None = ...,
        box: PixelBox | None = ...,
    ) -> Reconstruction: ...

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        *,
        resolution: int | None = ...,
        refine: int = ...,
        texture_px: int = ...,
        texture_from: Literal["photo", "model"] = ...,
    ) -> list[Reconstruction]: ...

    def __call__(
        self,
        images: Photo | list[Any] | tuple[Any, ...],
        *,
        resolution: int | None = None,
        refine: int = 0,
        texture_px: int = 0,
        texture_from: Literal["photo", "model"] = "photo",
        camera: GivenCamera | None = None,
        depth: np.ndarray | None = None,
        box: PixelBox | None = None,
    ) -> Reconstruction | list[Reconstruction]:
        """Reconstruct one image, or each image of a list.

        Args:
            images: a path (with its sidecar files), a Pillow image, or an array: uint8 or floats in [0, 1], [H, W, 4]
                with the object's mask as alpha. Without alpha, white is background.
            resolution: cells per edge of the grid that the surface is extracted on (default: 256, or 64 with
                refinement or a texture).
            refine: steps of refinement of the mesh and its camera against the image.
            texture_px: side of a texture from the photograph and the model's colours; 0 keeps the model's own colours.
            texture_from: "model" leaves the photograph out of the texture.
            camera: of one image: a ``Camera``, or the content of a camera file; by default the sidecar file's, else
                the canonical one.
            depth: of one image: [H, W], z in world units, 0 where missing.
            box: around the object of one photograph without a mask: left, top, right and bottom in pixels.

        Raises:
            DataError: an image that cannot be used, or in which the model finds no surface.
        """
        finishing = Finishing(refine, texture_px, texture_from)
        wanted = resolution or (FINISHED_RESOLUTION if finishing.is_needed else RESOLUTION)
        if isinstance(images, list | tuple):
            if camera is not None or depth is not None or box is not None:
                raise ConfigError("a camera, depth or box with a list of images", "pass the images one by one")
            return [self._one(photo, wanted, finishing) for photo in images]
        return self._one(images, wanted, finishing, camera, depth, box)

    def save(self, folder: str | Path, license: str = "") -> str:
        """Export the model as ``model.safetensors``, ``recipe.json`` and ``README.md``; returns the folder's address.

        The folder can be loaded, or uploaded to a hub as it is.

        Args:
            folder: new or empty, local or s3://.
            license: of the weights, as a hub names it, such as "cc-by-4.0".

        Raises:
            ConfigError: the folder holds other files.
            StorageError: it cannot be written.
        """
        return export_model(self._trained, folder, license)

    def _one(
        self,
        photo: Photo,
        resolution: int,
        finishing: Finishing,
        camera: GivenCamera | None = None,
        depth: np.ndarray | None = None,
        box: PixelBox | None = None,
    ) -> Reconstruction:
        takes_photographs = self._reconstructor.model.request.background
        if box is not None and not takes_photographs:
            raise ConfigError(f"a box with {self.recipe.name}, which takes cut-outs", "leave the box out")
        image = input_image(photo, takes_photographs, camera, depth, box)
        outcome = self._reconstructor(image, resolution, finishing=finishing)
        if outcome.mesh.is_empty:
            raise DataError(
                f"the model finds no surface in image {image.name}",
                "check that the object is cut out and its camera is right",
            )
        notes = (*image.notes, *outcome.notes)
        return Reconstruction(
            image.name, outcome.mesh, outcome.camera, image.camera_source, image.rgba, notes, outcome.seconds
        )

    def __repr__(self) -> str:
        needs = self._reconstructor.model.request.describe()
        return f"ImageTo3D({self.recipe.name} from {self.where} on {self.device}; inputs: {needs})"
