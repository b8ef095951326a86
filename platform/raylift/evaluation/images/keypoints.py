"""Keypoint transfer between reconstructions: PCK of an image's keypoints, brought there from other images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raylift.core.generators import numpy_generator, stable_hash
from raylift.core.types import Mesh, Reconstruction
from raylift.evaluation.images.target import ImageTarget
from raylift.geometry.cameras import project
from raylift.metrics.keypoint_transfer import KeypointCount, count_correct_keypoints, transfer_keypoints


@dataclass(frozen=True)
class Located:
    """An image's keypoints with its reconstruction's vertices.

    Attributes:
        topology: of the faces: meshes with equal ones correspond vertex by vertex.
        projected: the vertices by the predicted camera, normalised.
        visible: vertices of faces that the camera sees.
        keypoints: u, v, and 1 where visible.
        box_size: the longer edge of the object's box, normalised.
    """

    topology: int
    projected: Float[np.ndarray, "V 2"]
    visible: Bool[np.ndarray, "V"]
    keypoints: Float[np.ndarray, "K 3"]
    box_size: float


def locate(reconstruction: Reconstruction, mesh: Mesh, seen_faces: np.ndarray, truth: ImageTarget) -> Located:
    """What ``transferred_shares`` needs of an image with keypoints.

    Args:
        seen_faces: [H, W], the face at each pixel as the predicted camera sees the mesh, -1 for none.
    """
    assert truth.keypoints is not None
    faces = mesh.faces.numpy()
    visible = np.zeros(len(mesh.vertices), bool)
    visible[faces[np.unique(seen_faces[seen_faces >= 0])]] = True
    projected = project(reconstruction.camera, mesh.vertices[None].to(reconstruction.camera.focal.dtype))[0][0]
    topology = stable_hash(len(mesh.vertices), faces.astype("<i8").tobytes().hex())
    return Located(topology, projected.numpy(), visible, truth.keypoints, truth.box_size)


def transferred_shares(located: Mapping[str, Located], num_sources: int, seed: int) -> dict[str, float]:
    """For each target image, the share of transferred keypoints that land near enough (PCK at 0.1 of the box).

    CMR transfers between pairs of images drawn at random and counts over all pairs; here each image is the target of
    ``num_sources`` others that are drawn for (seed, its id), so that the figure does not change from run to run and has
    a median over images. A keypoint counts if it is visible in both.

    Returns:
        By sample; images without any keypoint to be transferred are left out.
    """
    names = sorted(located)
    shares = {}
    for place, name in enumerate(names):
        target, count = located[name], KeypointCount()
        others = [other for other in names[:place] + names[place + 1 :] if located[other].topology == target.topology]
        picked = numpy_generator(seed, name, "keypoint sources").permutation(len(others))[:num_sources]
        for source in (located[others[index]] for index in sorted(picked)):
            moved = transfer_keypoints(source.keypoints[:, :2], source.projected, target.projected, source.visible)
            annotated = (source.keypoints[:, 2] > 0) & (target.keypoints[:, 2] > 0)
            count += count_correct_keypoints(moved, target.keypoints[:, :2], annotated, target.box_size)
        if count.total:
            shares[name] = count.pck
    return shares
