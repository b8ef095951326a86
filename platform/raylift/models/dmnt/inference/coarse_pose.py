"""Coarse poses by look-up: one similarity matrix per image and category scores every start by gathering."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.models.dmnt.inference.candidates import shifted_camera
from raylift.models.dmnt.inference.evidence import Evidence, similarity
from raylift.models.dmnt.inference.start_table import StartTable
from raylift.models.dmnt.inference.texture_banks import TextureBanks


@dataclass(frozen=True)
class Starts:
    """The best coarse poses of (image, category) pairs.

    Attributes:
        score: mean over the image's pixels of max(o, c) - c within the outline, best first.
        camera: B K M cameras, flattened.
    """

    score: Float[Tensor, "B K M"]
    camera: Camera


def best_starts(
    evidence: Evidence,
    banks: TextureBanks,
    table: StartTable,
    categories: Int[Tensor, "B K"],
    count: int,
) -> Starts:
    """Rank all starts of the proposed categories, and keep ``count`` of each.

    The score of a start is the sum over its outline's pixels of max(o, c) - c (NeMo's robust loss), divided by the
    number of the image's pixels, so that starts of different outlines and categories compare. A price of occlusion, as
    in the refinement, ranks worse here: at 15 degrees from the pose, most pixels of a fine texture match nothing. Each
    rotation is kept once, with its best distance and offset.

    Args:
        evidence: at the table's resolution.
        categories: indices of the categories to score.
    """
    num_images, num_categories = categories.shape
    scores, cameras = [], []
    for image in range(num_images):
        for category in categories[image].tolist():
            found = similarity(evidence.features[image : image + 1], banks, category)[0]
            gain = (found - evidence.clutter[image].flatten()).clamp_(min=0)
            score, camera = _best(start_scores(gain, table, category), table, count)
            scores.append(score)
            cameras.append(camera)
    return Starts(torch.stack(scores).reshape(num_images, num_categories, -1), Camera.stack(cameras))


def start_scores(gain: Float[Tensor, "T P"], table: StartTable, category: int) -> Float[Tensor, "K J"]:
    """Mean gain of each start at each offset.

    Args:
        gain: of each texel at each pixel.

    Returns:
        K starts (rotations x distances) by J offsets. Pixels that an offset moves out of the image count nothing.
    """
    side = table.side
    start, row, column = (table.texels[category] >= 0).nonzero(as_tuple=True)
    texel = table.texels[category][start, row, column].long()
    scores = gain.new_zeros(len(table.texels[category]), len(table.shifts))
    flat = gain.flatten()
    for index, (right, down) in enumerate(table.shifts.tolist()):
        moved_row, moved_column = row + down, column + right
        inside = (moved_row >= 0) & (moved_row < side) & (moved_column >= 0) & (moved_column < side)
        place = texel * (side * side) + (moved_row * side + moved_column).clamp(0, side * side - 1)
        scores[:, index].index_add_(0, start, flat[place] * inside)
    return scores / (side * side)


def _best(scores: Float[Tensor, "K J"], table: StartTable, count: int) -> tuple[Float[Tensor, "M"], Camera]:
    """The best start of each rotation, then the best rotations."""
    num_rotations = _num_rotations(table)
    by_rotation = scores.reshape(-1, num_rotations, scores.shape[1]).transpose(0, 1).flatten(1)
    score, where = by_rotation.max(dim=1)
    score, rotation = score.topk(min(count, num_rotations))
    where = where[rotation]
    start = where // scores.shape[1] * num_rotations + rotation
    shift = table.shifts[where % scores.shape[1]]
    camera = table.camera[start]
    return score, shifted_camera(camera, shift.to(camera.principal) * (2 / table.side), table.offset)


def _num_rotations(table: StartTable) -> int:
    depth = table.camera.translation[:, 2]
    return int((depth == depth[0]).sum())
