"""Refinement and texture after a reconstruction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera, CropRequest, Mesh, SampleRequest
from raylift.data.feed.image_folder import InputImage
from raylift.geometry.cameras import orbit
from raylift.geometry.icosphere import icosphere
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from raylift.runs.finishing import Finishing, finish
from tests.rendering.pixels import rgba8


def ellipsoid(axes: tuple[float, float, float]) -> Mesh:
    vertices, faces = icosphere(3)
    vertices = torch.from_numpy(vertices).float() * torch.tensor(axes)
    return Mesh(vertices, torch.from_numpy(faces), torch.full((len(vertices), 3), 0.6))


def photograph(mesh: Mesh, camera: Camera) -> InputImage:
    return InputImage("egg", rgba8(render(mesh, camera, 96, Lighting.ambient())[0]), None, camera, "sidecar")


CAMERA = orbit(30.0, 15.0)
TRUTH = photograph(ellipsoid((0.45, 0.4, 0.3)), CAMERA)
GUESS = ellipsoid((0.5, 0.35, 0.3))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_known_camera_stays(is_known: bool) -> None:
    finishing = Finishing(refine_steps=30)
    done = finish(GUESS, CAMERA, TRUTH, SampleRequest(32), None, finishing, is_camera_known=is_known)
    assert done.notes[0].startswith("refined")
    assert not torch.equal(done.mesh.vertices, GUESS.vertices) or not is_known
    assert torch.equal(done.camera.focal, CAMERA.focal) == is_known
    assert torch.equal(done.camera.rotation, CAMERA.rotation) == is_known


def test_colours_are_asked_for_where_the_model_has_them() -> None:
    """A refined surface moved away from the field: its colours are those of the points that it came from."""
    asked: list[torch.Tensor] = []

    def generated(points: torch.Tensor) -> torch.Tensor:
        asked.append(points)
        return torch.full_like(points, 0.2)

    done = finish(GUESS, CAMERA, TRUTH, SampleRequest(32), generated, Finishing(refine_steps=30, texture_px=64))
    radii = (torch.cat(asked) / torch.tensor([0.5, 0.35, 0.3])).norm(dim=1)
    assert radii.min() > 0.96
    assert radii.max() < 1 + 1e-4
    assert done.mesh.texture is not None
    assert len(done.notes) == 2
    asked.clear()
    wanted = Finishing(refine_steps=30, texture_px=64, texture_from="model")
    done = finish(GUESS, CAMERA, TRUTH, SampleRequest(32), generated, wanted)
    assert done.mesh.texture is not None
    assert float((done.mesh.texture - 0.2).abs().max()) < 1e-3, "no colour of the photograph"
    assert (torch.cat(asked) / torch.tensor([0.5, 0.35, 0.3])).norm(dim=1).min() > 0.96


def test_a_texture_is_of_the_model_s_crop_at_the_image_s_resolution() -> None:
    """A crop moves the object in the image; the camera that the model predicts is of the crop."""
    wide = np.zeros((192, 192, 4), np.uint8)
    wide[80:176, 90:186] = photograph(ellipsoid((0.45, 0.4, 0.3)), CAMERA).rgba
    image = replace(TRUTH, rgba=wide)
    rows, columns = np.nonzero(wide[..., 3] > 127)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    scale = 96 / side
    center = ((columns.min() + columns.max()) / 2 - 90 - 47.5, (rows.min() + rows.max()) / 2 - 80 - 47.5)
    cropped = replace(
        CAMERA,
        focal=CAMERA.focal * scale,
        principal=CAMERA.principal * scale - torch.tensor([center]).float() * 2 / side,
    )
    request = SampleRequest(32, crop=CropRequest(padding=0.0, jitter=0.0, mirror=False))
    done = finish(ellipsoid((0.45, 0.4, 0.3)), cropped, image, request, None, Finishing(refine_steps=1))
    before = float(done.notes[0].split("IoU ")[1].split(" ->")[0])
    assert before > 0.97


def test_nothing_asked_or_nothing_there_changes_nothing() -> None:
    assert finish(GUESS, CAMERA, TRUTH, SampleRequest(32), None, Finishing()).mesh is GUESS
    empty = replace(GUESS, faces=GUESS.faces[:0])
    assert finish(empty, CAMERA, TRUTH, SampleRequest(32), None, Finishing(5, 64)).mesh is empty
    with pytest.raises(ConfigError, match="steps of refinement"):
        Finishing(refine_steps=-1)
    with pytest.raises(DataError, match="texels per side"):
        Finishing(texture_px=3)
