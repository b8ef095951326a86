"""Weights of the mesh-texture model's terms, and the epochs in which they apply."""

from __future__ import annotations

from dataclasses import dataclass, fields

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class MeshTextureWeights:
    """Weights of all terms; a term of weight 0 is not computed.

    Attributes:
        mask: silhouette IoU (1).
        mask_squares: mean squared difference of silhouettes (CMR, UCMR).
        outside: coverage times its distance from the silhouette.
        deform: (3), mean over vertices; from ``TermSchedule.deform_from`` on.
        laplacian: (4), summed over vertices.
        flat: (6), summed over edges.
        orientation: UMR's mean distance of vertices from the mirror plane, so that side and front differ; until
            ``TermSchedule.orientation_until``.
        upright: the camera's roll error; until ``TermSchedule.upright_until``.
        reconstruction: (10), or (35) in (32)'s place if D_var is enabled.
        perceptual: LPIPS of the textured render.
        align: (12): flow against where faces are seen, weighted by the visible fraction of a face.
        cycle: UMR's texture cycle: (12) squared, a mean over all faces.
        texture_distance: distance to the silhouette of the points where texels are read.
        pseudo_label: (31), if D_var is enabled.
        searched: (32), if D_var is enabled.
        adversarial: (38) on random views.
        frechet: (40-47) on random views.
        part_chamfer: (13).
        part_probability: (14).
        camera_entropy: entropy of the hypotheses; low entropy is a decided camera.
        camera_use: how unevenly the batch uses the hypotheses (UNICORN's uniform prior).
        keypoint, camera, assignment: CMR's: keypoint reprojection, camera, and entropy of the keypoints' vertices.
        pose: D_cam against the best camera of a multiplex.
        anchor: D_cam against the poses of a pose search.
    """

    mask: float = 3.0
    mask_squares: float = 0.0
    outside: float = 0.0
    deform: float = 5.0
    laplacian: float = 0.15
    flat: float = 4e-4
    orientation: float = 0.4
    upright: float = 0.0
    reconstruction: float = 3.0
    perceptual: float = 0.0
    align: float = 0.0
    cycle: float = 0.5
    texture_distance: float = 3.0
    pseudo_label: float = 0.0
    searched: float = 0.0
    adversarial: float = 0.0
    frechet: float = 0.0
    part_chamfer: float = 0.0
    part_probability: float = 0.0
    camera_entropy: float = 0.0
    camera_use: float = 0.0
    keypoint: float = 0.0
    camera: float = 0.0
    assignment: float = 0.0
    pose: float = 0.0
    anchor: float = 0.0

    def __post_init__(self) -> None:
        negative = [part.name for part in fields(self) if getattr(self, part.name) < 0]
        if negative:
            raise ConfigError(f"weights {', '.join(negative)} are below 0", "use weights of 0 or more")


@dataclass(frozen=True)
class TermSchedule:
    """Epochs in which terms apply.

    Attributes:
        deform_from: first epoch of the deformation term (UMR: 5).
        orientation_until: epoch before which shapes are kept thin (UMR: 3).
        upright_until: epoch before which cameras are kept upright.
        shape_from: epoch before which shapes are the template, and silhouettes and textured renders train cameras alone
            (UCMR's camera initialisation).
        texture_from: first epoch of texture terms; before it only silhouettes train.
        adversarial_from: first epoch of the critic's and the Fréchet term.
    """

    deform_from: int = 5
    orientation_until: int = 3
    upright_until: int = 3
    shape_from: int = 0
    texture_from: int = 0
    adversarial_from: int = 0

    def __post_init__(self) -> None:
        for name, epoch in vars(self).items():
            if epoch < 0:
                raise ConfigError(f"{name} is {epoch}", "use an epoch of at least 0")
