"""Per-instance refinement of a mesh and its camera against the image it was reconstructed from.

Ye, Tulsiani and Gupta (CVPR 2021), section 3.4: vertex offsets and camera descend on the difference of mask and colour,
held by the smoothness of the surface. In one view the depth of a surface is not seen, so a refinement may only promise
to fit that view; our steps are smooth over the surface, which keeps the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera, Mesh
from raylift.geometry.laplacian import Adjacency, adjacency
from raylift.losses.mesh_regularity import flatness_loss, laplacian_loss
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.metrics.silhouette import mask_hard
from raylift.refinement.camera_change import CameraChange
from raylift.refinement.config import RefinementConfig
from raylift.refinement.smooth_steps import SmoothOffsets
from raylift.refinement.window import Window, window_around
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_silhouette import soft_silhouette
from raylift.rendering.soft_view import SoftView
from raylift.rendering.triangles import check_mesh

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class Refined:
    """The better of a mesh and its refinement.

    Attributes:
        mesh: on the CPU, with the same faces and appearance.
        camera: B = 1.
        before, after: terms by name, unweighted, and "mask_iou", the hard one in the image's view; empty if nothing was
            compared.
        kept: whether the result is the refinement.
        note: what happened, for the user to read.
    """

    mesh: Mesh
    camera: Camera
    before: Mapping[str, float]
    after: Mapping[str, float]
    kept: bool
    note: str


def refine(
    mesh: Mesh,
    camera: Camera,
    image: Float[Tensor, "3 H W"],
    mask: Float[Tensor, "H W"],
    config: RefinementConfig | None = None,
    progress: Progress | None = None,
) -> Refined:
    """Move vertices and camera towards the image; if the mask's IoU in its view does not rise, return them unchanged.

    Colours of the mesh stay at their vertices. A mesh without faces or with edges of more than two faces, an empty mask
    and a refinement of no steps return the mesh as it is, with a note.

    Args:
        camera: camera of the image, B = 1.
        image: RGB in [0, 1], square.
        mask: coverage in [0, 1].
        config: ours by default.

    Raises:
        DataError: sizes that do not fit, or an invalid mesh.
    """
    config = config or RefinementConfig()
    if len(camera) != 1 or image.shape[1] != image.shape[2] or mask.shape != image.shape[1:]:
        raise DataError(
            f"{len(camera)} cameras, an image of {tuple(image.shape)} and a mask of {tuple(mask.shape)} do not fit",
            "pass one camera, a square image and a mask of the same size",
        )
    mesh, camera = mesh.to("cpu"), camera.to("cpu", torch.float32)
    check_mesh(mesh.vertices.detach().numpy(), mesh.faces.numpy())
    reason = _reason_against(mesh, mask, config)
    if reason:
        return Refined(mesh, camera, {}, {}, False, f"not refined: {reason}")
    with torch.enable_grad():
        return _Instance(mesh, camera, image, mask, config).run(progress)


def _reason_against(mesh: Mesh, mask: Tensor, config: RefinementConfig) -> str:
    if mesh.is_empty:
        return "the mesh has no faces"
    if not bool((mask >= 0.5).any()):
        return "the mask is empty"
    if config.num_steps == 0:
        return "no steps"
    try:
        adjacency(mesh.faces, len(mesh.vertices))
    except DataError as error:
        return error.problem
    return ""


class _Instance:
    """One refinement: targets, parameters and terms."""

    def __init__(self, mesh: Mesh, camera: Camera, image: Tensor, mask: Tensor, config: RefinementConfig) -> None:
        self.mesh, self.camera, self.config = mesh, camera, config
        self.rest = mesh.vertices.detach().float()
        self.edges: Adjacency = adjacency(mesh.faces, len(mesh.vertices))
        self.window = window_around(mesh, camera, mask) if config.crop else Window(0.0, 0.0, 1.0)
        self.mask = self.window.cut(mask.detach().cpu().float()[None], config.image_px)[0]
        self.image = self.window.cut(image.detach().cpu().float(), config.image_px)
        self.blend = SoftBlend(config.sigma)
        self.smooth = SmoothOffsets(self.edges, config.smoothness)
        self.latent = torch.zeros_like(self.rest).requires_grad_()
        self.change = CameraChange()

    def run(self, progress: Progress | None) -> Refined:
        """Descend, and keep the better."""
        config = self.config
        optimizer = torch.optim.Adam(
            [
                {"params": [self.latent], "lr": config.learning_rate},
                {"params": list(self.change.parameters()), "lr": config.camera_learning_rate},
            ]
        )
        before = self._measure()
        for step in range(config.num_steps):
            terms = self.terms()
            optimizer.zero_grad()
            self._total(terms).backward()
            if step < config.camera_share * config.num_steps:
                self.latent.grad = None
            optimizer.step()
            if progress is not None:
                progress(step + 1, config.num_steps)
        after = self._measure()
        gain = f"mask IoU {before['mask_iou']:.3f} -> {after['mask_iou']:.3f}"
        if not after["mask_iou"] > before["mask_iou"]:
            return Refined(self.mesh, self.camera, before, after, False, f"refinement dropped: {gain}")
        return Refined(*self._result(), before, after, True, f"refined: {gain}")

    def terms(self) -> dict[str, Tensor]:
        """Every term, unweighted."""
        config = self.config
        offsets = self.smooth(self.latent)
        vertices, camera = self.rest + offsets, self.window.of_camera(self.change.apply_to(self.camera))
        screen = project_to_screen(vertices[None], camera)
        coverage = soft_silhouette(screen, self.mesh.faces, config.image_px, config.sigma)
        mask = (
            silhouette_iou_loss(coverage, self.mask).mean()
            if config.mask_loss == "iou"
            else (coverage - self.mask).abs().mean()
        )
        lengths = vertices[self.edges.edges[:, 0]] - vertices[self.edges.edges[:, 1]]
        return {
            "mask": mask,
            "color": self._color_difference(screen),
            "laplacian": laplacian_loss(vertices, self.edges).mean(),
            "edge": lengths.square().sum(-1).mean(),
            "normal": flatness_loss(vertices, self.mesh.faces, self.edges).mean(),
            "offset": offsets.square().sum(-1).mean(),
            "camera": self.change.square(),
        }

    def _color_difference(self, screen: Tensor) -> Tensor:
        """Mean difference of RGB over the image, within the mask; 0 for a mesh without colours."""
        mesh, config = self.mesh, self.config
        textured = mesh.texture is not None and mesh.corner_uvs is not None
        if not config.color_weight or not (textured or mesh.vertex_colors is not None):
            return torch.zeros(())
        perspective = self.camera.projection == "perspective"
        view = SoftView(screen, mesh.faces, config.image_px, config.faces_per_pixel, self.blend, perspective)
        if mesh.texture is not None and mesh.corner_uvs is not None:
            seen = view.texture(mesh.corner_uvs.float(), mesh.texture.float().permute(2, 0, 1)[None])
        else:
            assert mesh.vertex_colors is not None
            seen = view.vertices(mesh.vertex_colors.float()[None], (1.0, 1.0, 1.0))
        return ((seen - self.image).abs() * self.mask[:, None]).mean()

    def _total(self, terms: Mapping[str, Tensor]) -> Tensor:
        weighted = [getattr(self.config, f"{name}_weight") * value for name, value in terms.items()]
        return torch.stack(weighted).sum()

    @torch.no_grad()
    def _result(self) -> tuple[Mesh, Camera]:
        vertices = self.rest + self.smooth(self.latent)
        return replace(self.mesh, vertices=vertices.to(self.mesh.vertices.dtype)), self.change.apply_to(self.camera)

    @torch.no_grad()
    def _measure(self) -> dict[str, float]:
        mesh, camera = self._result()
        covered = render(mesh, self.window.of_camera(camera), self.config.image_px, Lighting.ambient())[0].alpha
        values = {name: float(value) for name, value in self.terms().items()}
        return {**values, "mask_iou": mask_hard(covered, self.mask[0].numpy())}
