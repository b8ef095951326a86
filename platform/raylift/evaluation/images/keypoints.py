"""Keypoint transfer between reconstructions: PCK of keypoints transferred to an image from other images."""

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
        topology: hash of the faces: meshes with equal hashes correspond vertex by vertex.
        projected: vertices projected by the predicted camera, normalised.
        visible: whether a vertex belongs to a face visible to the camera.
        keypoints: u, v, and 1 where visible.
        box_size: longer edge of the object's box, normalised.
    """

    topology: int
    projected: Float[np.ndarray, "V 2"]
    visible: Bool[np.ndarray, "V"]
    keypoints: Float[np.ndarray, "K 3"]
    box_size: float


def locate(reconstruction: Reconstruction, mesh: Mesh, seen_faces: np.ndarray, truth: ImageTarget) -> Located:
    """The data of an image with keypoints that ``transferred_shares`` needs.

    Args:
        seen_faces: [H, W], the face at each pixel from the predicted camera, -1 for none.
    """
    assert truth.keypoints is not None
    faces = mesh.faces.numpy()
    visible = np.zeros(len(mesh.vertices), bool)
    visible[faces[np.unique(seen_faces[seen_faces >= 0])]] = True
    projected = project(reconstruction.camera, mesh.vertices[None].to(reconstruction.camera.focal.dtype))[0][0]
    topology = stable_hash(len(mesh.vertices), faces.astype("<i8").tobytes().hex())
    return Located(topology, projected.numpy(), visible, truth.keypoints, truth.box_size)


def transferred_shares(located: Mapping[str, Located], num_sources: int, seed: int) -> dict[str, float]:
    """For each target image, the fraction of correctly transferred keypoints (PCK at 0.1 of the box).

    CMR transfers between randomly drawn image pairs and counts over all pairs. Here each image is the target of
    ``num_sources`` others, drawn by (seed, its id), so that the figure is the same in every run and has a median over
    images. A keypoint counts if it is visible in both.

    Returns:
        PCK by sample; images without a keypoint to transfer are left out.
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
