"""Warnings about a pose search's result, each with its remedy."""

from __future__ import annotations

import math

import torch

from raylift.core.dataset_info import DatasetInfo
from raylift.models.poses.config import PoseSearchConfig
from raylift.models.poses.statistics import SearchStatistics

FEW_IMAGES = 12
FLAT_ENTROPY = 0.6
"""Fraction of log A above which the azimuths of single images count as undecided."""
POOR_FIT = 0.3
"""Expected 1 - IoU of the silhouettes above which one mesh does not represent all objects."""
MANY_TWINS = 0.4
"""Fraction of images that fit as well half a turn away above which front and back count as undecided."""
ONE_SIDE = 0.8
"""Fraction of all images within a quarter turn above which the set counts as taken from one side."""
EDGE_FACTOR = 1.65
"""Multiple of its equal share above which the lowest or highest elevation means that the range is too narrow."""
LEAST_MARGIN = 0.002
"""Difference of objectives below which two starts explain the images equally well."""


def doubts(statistics: SearchStatistics, config: PoseSearchConfig, info: DatasetInfo) -> tuple[str, ...]:
    """Return warnings for the user; the same on every rank."""
    found: list[str] = []
    if info.num_images and info.num_images < FEW_IMAGES:
        found.append(
            f"poses of {info.num_images} images are weakly determined: use {FEW_IMAGES} or more images of the class"
        )
    count = float(statistics.final_count)
    if not count:
        return tuple(found)
    order = statistics.ranking.argsort()
    best = int(order[0])
    ranges = config.poses.ranges
    entropy = float(statistics.final_entropy[best]) / count / math.log(ranges.azimuths)
    if entropy > FLAT_ENTROPY:
        found.append(
            f"azimuths are undecided: the mean posterior has {entropy:.0%} of the largest entropy. Round objects look"
            " the same from all sides; use a cue (model.poses.cue), or a recipe without a pose search"
        )
    misfit = float(statistics.final_misfit[best]) / count
    if misfit > POOR_FIT:
        found.append(
            f"one mesh explains the silhouettes with a mean IoU of {1 - misfit:.2f}: shapes differ too much"
            " for poses to be trusted. Train on one class of similar objects (data.categories), and look at the mesh"
        )
    twins = float(statistics.final_twins[best]) / count
    if twins > MANY_TWINS:
        found.append(
            f"front and back are ambiguous: half a turn around the object explains {twins:.0%} of the images as"
            " well. Use a cue that differs between them (model.poses.cue), more pixels (model.poses.match_px),"
            " or more starts (model.starts.draws)"
        )
    if len(order) > 1:
        margin = float(statistics.ranking[order[1]] - statistics.ranking[best])
        if margin < LEAST_MARGIN:
            found.append(
                f"the objectives of the two best starts differ by only {margin:.4f}, so the choice between them means"
                " little: add starts (model.starts.draws) and look at the meshes"
            )
    found += _of_azimuths(statistics.final_azimuths[best] / count, config)
    found += _of_elevations(statistics.final_elevations[best] / count, config)
    return tuple(found)


def _of_azimuths(share: torch.Tensor, config: PoseSearchConfig) -> list[str]:
    quarter = max(1, len(share) // 4)
    around = torch.cat([share, share[: quarter - 1]])
    most = float(around.unfold(0, quarter, 1).sum(dim=1).max())
    if most < ONE_SIDE:
        return []
    remedy = "set model.prior=0, not to pull azimuths apart" if config.prior else "add images from other sides"
    return [f"{most:.0%} of the images seem to be taken from one side (a quarter turn): {remedy}"]


def _of_elevations(share: torch.Tensor, config: PoseSearchConfig) -> list[str]:
    low, high = config.poses.ranges.elevation_deg
    if len(share) < 3:
        return []
    ends = (("lowest", low, float(share[0])), ("highest", high, float(share[-1])))
    return [
        f"{mass:.0%} of the images are at the {name} elevation of the range ({low:g} to {high:g} degrees): widen"
        " model.poses.ranges.elevation_deg"
        for name, _, mass in ends
        if mass > EDGE_FACTOR / len(share)
    ]
