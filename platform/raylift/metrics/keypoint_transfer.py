"""Keypoint transfer: do two reconstructions agree on points of the object (CMR's protocol)?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

PCK_SHARE = 0.1


@dataclass(frozen=True)
class KeypointCount:
    """Additive state: the number of transferred keypoints, and of those within the threshold.

    Attributes:
        correct: number within the threshold.
        total: number annotated in both images.
    """

    correct: int = 0
    total: int = 0

    def __add__(self, other: KeypointCount) -> KeypointCount:
        return KeypointCount(self.correct + other.correct, self.total + other.total)

    @property
    def pck(self) -> float:
        """The fraction of correct keypoints in [0, 1]; NaN without keypoints."""
        return self.correct / self.total if self.total else float("nan")


def transfer_keypoints(
    source_keypoints: Float[np.ndarray, "K 2"],
    source_projected: Float[np.ndarray, "V 2"],
    target_projected: Float[np.ndarray, "V 2"],
    source_visible: Bool[np.ndarray, "V"] | None = None,
) -> Float[np.ndarray, "K 2"]:
    """Transfer one image's keypoints to another, through the mesh that both share.

    Each keypoint maps to the vertex that projects nearest to it, and that vertex to its projection in the other image.

    Args:
        source_keypoints: keypoints in normalised coordinates of the source image.
        source_projected, target_projected: the same vertices by the two reconstructions and cameras.
        source_visible: vertices visible in the source; all by default. If none is visible, all are used.
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
    """PCK@share: count keypoints closer to the truth than ``share`` of the object's size.

    Args:
        annotated: mask of keypoints annotated in both images.
        size: longer edge of the target's box (2 for a whole image), normalised coordinates.
    """
    distance = np.linalg.norm(transferred - keypoints, axis=-1)
    near = (distance <= share * size) & annotated
    return KeypointCount(int(near.sum()), int(annotated.sum()))
