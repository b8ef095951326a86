"""A collection of photographs of one textured egg, taken by our own renderer; models that know it, or do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from raylift.core.types import Batch, Camera, CropRequest, Mesh, Reconstruction, SampleRequest
from raylift.data.images.config import ImagesConfig
from raylift.data.images.record import true_shape
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.record import load_object
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import orbit_rotations, project
from raylift.geometry.icosphere import icosphere
from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.geometry.uv_sphere import corner_uvs
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from tests.evaluation.models import AnsweringModel
from tests.rendering.pixels import rgba8

PHOTO_PX = 512  # stored at an eighth of it, so that its edges are as exact as a photograph's
STORED_PX = 64
NUM_PHOTOS = 9
KEYPOINT_VERTICES = (0, 3, 7, 12, 25, 41)


def checker_texture(height: int = 32, width: int = 64, squares: int = 8) -> torch.Tensor:
    """Squares in colours that change around the sphere, so that no two sides look alike."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    odd = ((rows * squares // height) + (columns * 2 * squares // width)) % 2
    around, up = columns / width, rows / height
    colors = torch.stack([around, 1 - around, up], dim=-1)
    return torch.where(odd[..., None] == 0, 0.2 + 0.6 * colors, 0.15 * torch.ones(3))


def egg(level: int = 2) -> Mesh:
    """An ellipsoid with a checker texture; no two of its axes are equal."""
    vertices, faces = icosphere(level)
    sphere = torch.from_numpy(vertices)
    triangles = torch.from_numpy(faces)
    shape = 0.5 * sphere / sphere.norm(dim=1, keepdim=True) * torch.tensor([0.7, 0.85, 1.0])
    return Mesh(shape.float(), triangles, corner_uvs=corner_uvs(sphere, triangles).float(), texture=checker_texture())


def photo_camera(index: int) -> Camera:
    """Orthographic, from all around, a little from above and below."""
    rotation = orbit_rotations(torch.tensor([40.0 * index + 10]), torch.tensor([-20.0 + 10 * (index % 5)]))
    return Camera(
        torch.full((1, 2), 1.4),
        torch.zeros(1, 2),
        rotation.float(),
        torch.tensor([[0.03, -0.02, 3.0]]),
        "orthographic",
    )


@dataclass(frozen=True)
class EggSource:
    """Photographs with cameras and keypoints, in two categories."""

    kind: str = "eggs"

    def annotations(self) -> Annotations:
        return Annotations.of_keypoints([f"spot {vertex}" for vertex in KEYPOINT_VERTICES])

    def items(self) -> list[SourceItem]:
        splits = ("train", "test", "val")
        return [
            ImageItem(
                id=f"egg-{index}",
                name=f"egg {index}",
                category="eggs",
                reference=str(index),
                split=splits[index % 3] if index % 3 != 2 or index == 2 else "test",
            )
            for index in range(NUM_PHOTOS)
        ]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        camera = photo_camera(int(item.reference))
        mesh = egg()
        seen = render(mesh, camera, PHOTO_PX, Lighting.ambient(), supersample=2)[0]
        spots = mesh.vertices[list(KEYPOINT_VERTICES)]
        where = project(camera, spots[None])[0][0].numpy()
        # On an ellipsoid the normal is the position over the squared half axes.
        normals = spots / torch.tensor([0.7, 0.85, 1.0]) ** 2
        faces_camera = (normals @ camera.rotation[0].T)[:, 2].numpy() < -0.2
        keypoints = np.concatenate([(where + 1) / 2 * PHOTO_PX, faces_camera[:, None]], axis=1)
        return LoadedImage(rgba8(seen), "An egg.", keypoints=keypoints, camera=camera)


def prepare_eggs(folder: Path) -> ShardedDataset:
    """3 to train on, 1 to validate, 5 to test."""
    config = ImagesConfig(image_px=STORED_PX, min_object_px=4, objects_per_shard=4)
    ingest([EggSource()], str(folder), config, parallel="none")
    return ShardedDataset.open(folder)


class EggModel(AnsweringModel):
    """Answers with the egg and the true camera, or with what a test makes of them.

    Args:
        stretch: of the mesh's axes.
        turn: axis-angle by which the whole world is turned, mesh and cameras: another choice of the front.
        error_deg: by which each camera is turned about the line of sight, alternately one way and the other.
        grey: without the texture.
    """

    def __init__(
        self,
        stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
        turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
        error_deg: float = 0.0,
        grey: bool = False,
    ) -> None:
        super().__init__()
        self.stretch, self.turn, self.error_deg, self.grey = stretch, turn, error_deg, grey

    @property
    def request(self) -> SampleRequest:
        return SampleRequest(image_px=48, crop=CropRequest(0.05, 0.05, True), truth=True)

    def truth(self, sample: str) -> Mesh:
        return egg()

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        assert batch.camera is not None
        found = []
        for index, sample in enumerate(batch.ids):
            mesh, camera = self.truth(sample), batch.camera[index]
            turn = axis_angle_to_matrix(torch.tensor(self.turn))
            vertices = (mesh.vertices * torch.tensor(self.stretch)) @ turn.T
            mesh = replace(mesh, vertices=vertices)
            if self.grey:
                mesh = Mesh(vertices, mesh.faces)
            sign = 1 if int(sample.partition("#")[0].rpartition("-")[2]) % 2 else -1
            about = axis_angle_to_matrix(torch.tensor([0.0, 0.0, sign * self.error_deg * torch.pi / 180]))
            found.append(Reconstruction(sample, mesh, replace(camera, rotation=about @ camera.rotation @ turn.T)))
        return found


class TrueShapeModel(EggModel):
    """Answers images of a data set of shapes with their true meshes."""

    def __init__(self, dataset: ShardedDataset, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__(stretch)
        self.dataset = dataset

    def truth(self, sample: str) -> Mesh:
        known = true_shape(self.dataset, sample.rpartition("#")[0])
        return load_object(known.shapes, known.object_id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh


class CollapsedModel(EggModel):
    """Sees every image from the same side."""

    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        front = orbit_rotations(torch.tensor([15.0]), torch.tensor([0.0])).float()
        return [replace(found, camera=replace(found.camera, rotation=front)) for found in super().reconstruct(batch)]
