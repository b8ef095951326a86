"""Keypoint transfer: do two reconstructions agree on what is where on the object (CMR's protocol)?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

PCK_SHARE = 0.1


@dataclass(frozen=True)
class KeypointCount:
    """An additive state: how many keypoints were transferred, and how many of them landed near enough.

    Attributes:
        correct: within the threshold.
        total: annotated in both images.
    """

    correct: int = 0
    total: int = 0

    def __add__(self, other: KeypointCount) -> KeypointCount:
        return KeypointCount(self.correct + other.correct, self.total + other.total)

    @property
    def pck(self) -> float:
        """The percentage of correct keypoints as a share in [0, 1]; NaN of none."""
        return self.correct / self.total if self.total else float("nan")


def transfer_keypoints(
    source_keypoints: Float[np.ndarray, "K 2"],
    source_projected: Float[np.ndarray, "V 2"],
    target_projected: Float[np.ndarray, "V 2"],
    source_visible: Bool[np.ndarray, "V"] | None = None,
) -> Float[np.ndarray, "K 2"]:
    """Where one image's keypoints lie in another, by way of the mesh that both share.

    Each keypoint goes to the vertex that projects nearest to it, and that vertex to its place in the other image.

    Args:
        source_keypoints: in normalised coordinates of the source image.
        source_projected, target_projected: the same vertices by the two reconstructions and cameras.
        source_visible: vertices that are seen in the source; all without it. If none is seen, all count.
    """
    squared = np.square(source_keypoints[:, None] - source_projected[None]).sum(axis=-1)
    if source_visible is not None and source_visible.any():
        squared = np.where(source_visible[None], squared, np.inf)
    return target_projected[squared.argmin(axis=1)]


def count_correct_keypoints(
    transferred: Float[np.ndarray, "K 2"],
    keypoints: Float[np.ndarray, "K 2"],
    annotated: Bool[np.ndarray, "K"],
    size: float,
    share: float = PCK_SHARE,
) -> KeypointCount:
    """PCK@share: keypoints closer to the truth than ``share`` of the object's size.

    Args:
        annotated: in both images.
        size: the longer edge of the target's box (2 for a whole image), normalised coordinates.
    """
    distance = np.linalg.norm(transferred - keypoints, axis=-1)
    near = (distance <= share * size) & annotated
    return KeypointCount(int(near.sum()), int(annotated.sum()))
