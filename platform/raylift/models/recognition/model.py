"""What both recognition networks share: their inputs, the camera's training means, the pose terms, the category."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from raylift.core.collectives import share_of_weighted_mean
from raylift.core.device_copies import constant
from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import keyed_uniforms, stable_hash
from raylift.core.model import Carry, LossOutput, ObjectRecogniser, Phase, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, SampleRequest
from raylift.geometry.pose_bins import bin_centers, bins_of
from raylift.geometry.pose_grid import pose_angles
from raylift.losses.pose_bins import pose_bin_error, pose_offset_error
from raylift.models.recognition.camera import CameraPrior
from raylift.models.recognition.config import RecognitionConfig
from raylift.networks.pose_bins import PoseBins
from raylift.rendering.image_changes import mirrored_where

MIRROR = (-1.0, 1.0, -1.0)
"""Signs of azimuth, elevation and roll in a mirrored image (``geometry.pose_grid.pose_quaternions``)."""


class MultiTaskRecogniser(ObjectRecogniser):
    """Class, binned pose and outlines by one network, end to end (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights depend on it alone.
        categories: the data set's categories.

    Raises:
        ConfigError: a data set without categories.
    """

    def __init__(self, config: RecognitionConfig, seed: int, categories: tuple[str, ...]) -> None:
        super().__init__()
        if not categories:
            raise ConfigError("the data set has no categories to recognise", "prepare it from a source that has them")
        self.config = config
        self._categories = categories
        self.camera_prior = CameraPrior(len(categories))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "recognition", config.network))
            self.network = self.build_network(config, len(categories))

    @staticmethod
    @abstractmethod
    def build_network(config: RecognitionConfig, num_categories: int) -> nn.Module:
        """The network, with random weights."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories."""
        return self._categories

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One group, one phase."""
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        """The whole image with its background, both outlines, the category and the camera."""
        return SampleRequest(self.config.image_px, background=True, amodal=True, category=True, supervised_camera=True)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The weighted terms of one network, and the sums of the camera's training means.

        Raises:
            DataError: the batch lacks a field or its camera.
        """
        if batch.camera is None:
            raise DataError("this batch has no camera", "train on images whose poses are known")
        observed = self.camera_prior.observed(batch.camera, batch["amodal"], batch["category"])
        angles = pose_angles(batch.camera.rotation)
        if self.config.mirror:
            flips = keyed_uniforms(batch.keys, step_info.seed, step_info.step, "recognition mirror") < 0.5
            batch, angles = (
                mirrored(batch, flips),
                torch.where(flips[:, None], angles * constant(MIRROR, angles), angles),
            )
        return LossOutput(self.terms(batch, angles, step_info), observed)

    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Update the camera's training means."""
        self.camera_prior.update(carry)

    @abstractmethod
    def terms(self, batch: Batch, angles: Float[Tensor, "B 3"], step_info: StepInfo) -> list[Term]:
        """The network's terms.

        Args:
            angles: true azimuth, elevation and roll, radians.
        """

    def pose_terms(self, bins: PoseBins, angles: Float[Tensor, "R 3"], counts: Float[Tensor, "R"]) -> list[Term]:
        """The terms of the pose's bins and offsets, means over the R objects or regions that count (1, else 0)."""
        weights = self.config.weights
        true_bins = bins_of(angles, self.config.pose.num_bins)
        error = pose_bin_error(bins.logits, true_bins)
        found = [Term("pose", share_of_weighted_mean(error, counts.to(error)), weights.pose)]
        if bins.offsets is not None:
            centers = bin_centers(self.config.pose.num_bins, angles)
            off = pose_offset_error(bins.offsets, true_bins, centers, angles)
            found.append(Term("pose_offset", share_of_weighted_mean(off, counts.to(off)), weights.pose_offset))
        return found

    def target_of(self, category: Int[Tensor, "B"]) -> Int[Tensor, "B"]:
        """Index of the true class: the category, or the last one for "none of them"."""
        return torch.where(category < 0, len(self._categories), category)


def mirrored(batch: Batch, flips: Bool[Tensor, "B"]) -> Batch:
    """The batch with the images and outlines of some samples mirrored left to right; the camera is not changed."""
    fields = {name: mirrored_where(batch[name], flips) for name in ("image", "mask", "amodal")}
    return replace(batch, fields={**batch.fields, **fields})


def believed(log_probs: Float[Tensor, "B C+1"], told: Int[Tensor, "B"] | None) -> Int[Tensor, "B"]:
    """The category that pose and outlines are for: the told one, or the most probable one that is a category."""
    best = log_probs[:, :-1].argmax(dim=1)
    return best if told is None else torch.where(told < 0, best, told)
