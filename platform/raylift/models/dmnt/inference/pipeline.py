"""The inference from features to fits: proposals, coarse poses, refinement, shape, and the score of every category."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.stopwatch import Stopwatch
from raylift.models.dmnt.inference.candidates import Candidates
from raylift.models.dmnt.inference.coarse_pose import Starts, best_starts
from raylift.models.dmnt.inference.config import InferenceConfig
from raylift.models.dmnt.inference.evidence import Evidence, category_scores, proposals
from raylift.models.dmnt.inference.levenberg import levenberg_steps
from raylift.models.dmnt.inference.objective import Scene, explain
from raylift.models.dmnt.inference.posterior import filled_scores
from raylift.models.dmnt.inference.refinement import adam_steps
from raylift.models.dmnt.inference.stages import COARSE, POSE, PROPOSALS, SHAPE
from raylift.models.dmnt.inference.start_table import StartTable, build_start_table
from raylift.models.dmnt.inference.texture_banks import TextureBanks, texture_banks
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.networks.neural_texture import NeuralTexture

POLISH_STEPS = 4
"""Steps of Levenberg-Marquardt on the pose after each round of shapes."""


@dataclass(frozen=True)
class Matcher:
    """What inference needs of a trained model, prepared once per state of its texture and templates.

    Attributes:
        banks: textures for matching.
        table: coarse poses.
    """

    texture: NeuralTexture
    templates: DeformableTemplates
    banks: TextureBanks
    table: StartTable
    config: InferenceConfig

    @staticmethod
    def of(texture: NeuralTexture, templates: DeformableTemplates, config: InferenceConfig, feature_px: int) -> Matcher:
        """Prepare banks and table for feature maps of ``feature_px`` pixels per side.

        Raises:
            DataError: the textures were never filled.
        """
        banks = texture_banks(texture.texture.float(), texture.seen, config.starts.max_texels)
        table = build_start_table(templates, config.starts, feature_px, banks.texels)
        return Matcher(texture, templates, banks, table, config)


@dataclass(frozen=True)
class Fits:
    """The best fit of each of B images, and the scores of all categories.

    Attributes:
        best: one candidate per image, of its best category.
        scores: mean gain per pixel of each category's best fit; see ``filled_scores`` for those not fitted.
        scene: what the fits were compared with.
    """

    best: Candidates
    scores: Float[Tensor, "B C"]
    scene: Scene


@torch.no_grad()
def fit_images(
    matcher: Matcher,
    features: Float[Tensor, "B D S S"],
    category: Int[Tensor, "B"] | None = None,
    stopwatch: Stopwatch | None = None,
) -> Fits:
    """Fit category, pose and shape to images' features.

    Args:
        features: unit length.
        category: index of each image's category if it is given; otherwise the best ``num_categories`` are fitted.
        stopwatch: measures the stages.
    """
    config, watch = matcher.config, stopwatch or Stopwatch()
    with watch.stage(PROPOSALS):
        evidence = Evidence.of(features, matcher.texture, matcher.banks)
        proposed = category_scores(evidence, matcher.banks)
        categories = proposals(proposed, config.num_categories) if category is None else category[:, None]
    with watch.stage(COARSE):
        coarse = evidence.coarser(config.starts.stride)
        starts = best_starts(coarse, matcher.banks, matcher.table, categories, config.num_starts)
    scene = scene_of(matcher, evidence)
    fitted, score = refine(scene, _candidates(matcher, categories, starts), categories.shape, config, watch)
    refined = score.reshape(categories.shape) / evidence.side**2
    best = refined.argmax(1) + torch.arange(len(refined), device=refined.device) * refined.shape[1]
    return Fits(fitted[best], filled_scores(refined, categories, proposed), scene)


def scene_of(matcher: Matcher, evidence: Evidence) -> Scene:
    """The comparison at the features' full resolution."""
    config = matcher.config
    sigma = (config.sigma_px * 2 / evidence.side) ** 2
    weight = config.silhouette_weight
    return Scene(
        evidence, matcher.texture, matcher.templates, config.occlusion_price, weight, sigma, config.starts.offset
    )


def refine(
    scene: Scene,
    candidates: Candidates,
    groups: torch.Size,
    config: InferenceConfig,
    stopwatch: Stopwatch,
) -> tuple[Candidates, Float[Tensor, "G"]]:
    """Refine candidates together; keep the best of each group, and fit its shape.

    Args:
        candidates: groups of equal numbers, one after the other.
        groups: shape of the groups: images by categories.
        stopwatch: measures the stages.

    Returns:
        one candidate per group, and its score, summed over pixels.
    """
    first = min(config.drop_after, config.pose_steps)
    with stopwatch.stage(POSE):
        moved, score = _pose_steps(scene, candidates, 0, first, config)
        moved, score = best_of_groups(moved, score, groups.numel(), config.num_kept)
        if first < config.pose_steps:
            moved, score = _pose_steps(scene, moved, first, config.pose_steps, config)
        moved, _ = best_of_groups(moved, score, groups.numel(), 1)
    with stopwatch.stage(SHAPE):
        moved = _shape_rounds(scene, moved, config)
        return moved, explain(scene, moved).score


def _shape_rounds(scene: Scene, candidates: Candidates, config: InferenceConfig) -> Candidates:
    """Fit pose and shape in turns: Adam on both, then the pose alone, which a wrong shape had misled."""
    for number in range(config.shape_rounds):
        first, end = (config.shape_steps * part // config.shape_rounds for part in (number, number + 1))
        if first == end:
            continue
        candidates, _ = adam_steps(
            scene,
            candidates,
            end - first,
            config.learning_rate / 2,
            shape_learning_rate=config.shape_learning_rate,
            prior_weight=config.prior_weight,
        )
        if config.solver != "adam":
            candidates, _ = levenberg_steps(scene, candidates, POLISH_STEPS)
    return candidates


def _pose_steps(
    scene: Scene, candidates: Candidates, first: int, end: int, config: InferenceConfig
) -> tuple[Candidates, Float[Tensor, "M"]]:
    if config.solver == "levenberg" or (config.solver == "both" and first > 0):
        return levenberg_steps(scene, candidates, end - first)
    return adam_steps(scene, candidates, end - first, config.learning_rate, first, config.pose_steps)


def best_of_groups(
    candidates: Candidates, score: Float[Tensor, "M"], num_groups: int, count: int
) -> tuple[Candidates, Float[Tensor, "G"]]:
    """The best ``count`` candidates of each group, best first."""
    grouped = score.reshape(num_groups, -1)
    kept, index = grouped.topk(min(count, grouped.shape[1]), dim=1)
    rows = torch.arange(num_groups, device=score.device)[:, None] * grouped.shape[1]
    return candidates[(index + rows).flatten()], kept.flatten()


def _candidates(matcher: Matcher, categories: Int[Tensor, "B K"], starts: Starts) -> Candidates:
    images, kinds = categories.shape
    per_kind = starts.score.shape[2]
    device = categories.device
    return Candidates(
        torch.arange(images, device=device).repeat_interleave(kinds * per_kind),
        categories.flatten().repeat_interleave(per_kind),
        starts.camera,
        torch.zeros(images * kinds * per_kind, matcher.templates.latent_mean.shape[1], device=device),
    )
