"""Weights of the mesh-texture model's terms, and the epochs in which they count."""

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
        orientation: UMR's: mean distance of vertices from the mirror plane, so that the side looks unlike the front;
            until ``TermSchedule.orientation_until``.
        upright: how far the camera is rolled; until ``TermSchedule.upright_until``.
        reconstruction: (10), or (35) in (32)'s place where D_var is.
        perceptual: LPIPS of the picture.
        align: (12): flow against where faces are seen, by how much of a face is.
        cycle: UMR's texture cycle: (12) squared, a mean over all faces.
        texture_distance: distance from the silhouette of where texels are read.
        pseudo_label: (31), where D_var is.
        searched: (32), where D_var is.
        adversarial: (38) of random views.
        frechet: (40-47) of random views.
        part_chamfer: (13).
        part_probability: (14).
        camera_entropy: of hypotheses; low entropy is a decided camera.
        camera_use: of hypotheses; how unevenly the batch uses them (UNICORN's uniform prior).
        keypoint, camera, assignment: CMR's: keypoint reprojection, camera, and entropy of the keypoints' vertices.
        pose: D_cam against the best camera of a multiplex.
        anchor: D_cam against the poses that a pose search found.
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
            raise ConfigError(f"weights {', '.join(negative)} below 0", "give weights of 0 or more")


@dataclass(frozen=True)
class TermSchedule:
    """Epochs in which terms count.

    Attributes:
        deform_from: the deformation is free before this epoch (UMR: 5).
        orientation_until: shapes are held thin before this epoch (UMR: 3).
        upright_until: cameras are held upright before this epoch.
        shape_from: before it shapes are the template, and cameras alone learn from silhouettes and pictures (UCMR's
            camera initialisation).
        texture_from: texture terms begin; before it only silhouettes train.
        adversarial_from: the critic's and the Fréchet term begin.
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
                raise ConfigError(f"{name} is {epoch}", "give an epoch of at least 0")
