"""From features to a ``Recognition``, and the fitted mesh with the image's colours."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.model import Recognition
from raylift.core.stopwatch import Stopwatch
from raylift.core.types import Camera, Mesh
from raylift.models.dmnt.inference.pipeline import Fits, Matcher, fit_images
from raylift.models.dmnt.inference.pixel_maps import pixel_maps
from raylift.models.dmnt.inference.posterior import ClassPosterior
from raylift.models.dmnt.inference.stages import ANSWER
from raylift.texturing.photo_view import PhotoView


def recognise_features(
    matcher: Matcher,
    posterior: ClassPosterior,
    features: Float[Tensor, "B D S S"],
    image_px: int,
    category: Int[Tensor, "B"] | None = None,
    stopwatch: Stopwatch | None = None,
) -> tuple[Recognition, Fits]:
    """Class, pose and outlines of the objects in B images, and the fits that they come from.

    Args:
        features: unit length.
        image_px: side of the outlines.
        category: index of each image's category, if it is given.
        stopwatch: measures the stages.
    """
    watch = stopwatch or Stopwatch()
    fits = fit_images(matcher, features, category, watch)
    with watch.stage(ANSWER):
        maps = pixel_maps(fits.scene, fits.best, image_px, matcher.config.pixel_temperature)
        found = Recognition(posterior(fits.scores), fits.best.camera, maps.amodal, maps.visible, maps.occluder)
    return found, fits


@torch.no_grad()
def fitted_meshes(
    fits: Fits, image: Float[Tensor, "B 3 H W"], visible: Float[Tensor, "B 1 H W"]
) -> list[tuple[Mesh, Camera]]:
    """The deformed mesh of each image, on the CPU, with colours read from the image, and its camera.

    Args:
        image: RGB in [0, 1], square.
        visible: probability of each pixel to show the object.
    """
    vertices, templates = fits.scene.vertices(fits.best), fits.scene.templates
    meshes = []
    for index in range(len(image)):
        mesh = Mesh(vertices[index], templates.faces, corner_uvs=templates.corner_uvs).to("cpu")
        camera = fits.best.camera[index].to("cpu")
        meshes.append((colored_mesh(mesh, camera, image[index].cpu(), visible[index, 0].cpu()), camera))
    return meshes


def colored_mesh(mesh: Mesh, camera: Camera, image: Float[Tensor, "3 H W"], visible: Float[Tensor, "H W"]) -> Mesh:
    """Colour vertices: from the image where it shows them, else from their mirror image at x = 0, else by the mean.

    Args:
        camera: B = 1.
        visible: probability of each pixel to show the object; pixels of at least 0.5 are read.
    """
    mask = (visible >= 0.5).float()
    if not bool(mask.any()):
        return replace(mesh, vertex_colors=torch.full_like(mesh.vertices, 0.5))
    view, normals = PhotoView.of(mesh, camera, image, mask), vertex_normals(mesh)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    seen, weight = view.read(mesh.vertices, normals)
    mirrored, mirror_weight = view.read(mesh.vertices * flip, normals * flip, on_surface=False)
    color = torch.lerp((image * mask).sum((1, 2))[None] / mask.sum(), mirrored, mirror_weight[:, None])
    return replace(mesh, vertex_colors=torch.lerp(color, seen, weight[:, None]).clamp(0, 1))


def vertex_normals(mesh: Mesh) -> Float[Tensor, "V 3"]:
    """Unit normals, weighted by the areas of the faces around each vertex."""
    first, second, third = mesh.vertices[mesh.faces].unbind(1)
    normals = torch.linalg.cross(second - first, third - first).repeat(3, 1)
    total = torch.zeros_like(mesh.vertices).index_add_(0, mesh.faces.mT.flatten(), normals)
    return torch.nn.functional.normalize(total, dim=1)
