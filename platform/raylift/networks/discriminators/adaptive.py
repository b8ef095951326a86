"""Augmentation whose probability follows from how much the discriminator overfits (Karras et al. 2020, ADA)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.collectives import global_sum
from raylift.core.errors import ConfigError
from raylift.networks.discriminators.augmentation import AugmentationConfig, augmentation_draws, augmented


@dataclass(frozen=True)
class AdaptiveConfig:
    """How the probability is adapted.

    Attributes:
        target: r_t = E[sign D(real)] to keep: above it the discriminator overfits, and p grows. 0 keeps p as it is.
        speed_images: real images in which p can go from 0 to 1.
        every: updates of the discriminator over which r_t is measured.
        initial: p at the start.
        highest: largest p; above about 0.8 the generator imitates the changes.
        changes: the changes and their sizes.
    """

    target: float = 0.6
    speed_images: int = 500_000
    every: int = 4
    initial: float = 0.0
    highest: float = 0.8
    changes: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.highest <= 1 or not 0 <= self.target < 1:
            raise ConfigError(
                f"adaptive augmentation: initial {self.initial}, highest {self.highest}, target {self.target}",
                "use 0 <= initial <= highest <= 1 and a target in [0, 1)",
            )
        if self.speed_images < 1 or self.every < 1:
            raise ConfigError(
                f"adaptive augmentation: speed_images {self.speed_images}, every {self.every}", "use at least 1"
            )


class AdaptiveAugmentation(nn.Module):
    """Changes real and rendered images with a probability that is adapted during training.

    Buffers, which a checkpoint keeps: ``probability`` p; ``real_sign``, the last r_t; and the signs since then.

    Args:
        config: target, speed and changes.
    """

    probability: Tensor
    real_sign: Tensor
    sign_sum: Tensor
    num_signs: Tensor
    num_updates: Tensor

    def __init__(self, config: AdaptiveConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.tensor(config.initial))
        for name in ("real_sign", "sign_sum", "num_signs"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))

    def forward(
        self, image: Float[Tensor, "B C H W"], keys: Int[Tensor, "B"], seed: int, step: int, purpose: str
    ) -> Float[Tensor, "B C H W"]:
        """Change images (``augmented``); the draws belong to (seed, step, sample, purpose).

        Args:
            image: RGB, or premultiplied RGB and alpha, in [0, 1].
            keys: keys of the samples (``Batch.keys``).
            purpose: tells apart the images of one step, such as "real" and "novel view".
        """
        probability = float(self.probability)
        if probability == 0:
            return image
        draws = augmentation_draws(keys, seed, step, purpose)
        return augmented(image, draws, probability, self.config.changes)

    @torch.no_grad()
    def update(self, real_logits: Float[Tensor, "B"]) -> None:
        """Take one update of the discriminator into account; every ``every`` of them, move p.

        p grows by num_images / speed_images if r_t is above the target, and shrinks by as much if it is below. To be
        called on every rank, from ``Model.after_step``; the signs are summed over ranks.

        Args:
            real_logits: the image's own logits of this rank's augmented real images.
        """
        self.sign_sum += global_sum(real_logits.sign().to(self.sign_sum.dtype).sum())
        self.num_signs += global_sum(self.num_signs.new_full((), float(len(real_logits))))
        self.num_updates += 1
        if int(self.num_updates) % self.config.every:
            return
        self.real_sign.copy_(self.sign_sum / self.num_signs.clamp(min=1))
        if self.config.target > 0:
            direction = (self.real_sign - self.config.target).sign()
            self.probability += direction * self.num_signs / self.config.speed_images
            self.probability.clamp_(0, self.config.highest)
        self.sign_sum.zero_()
        self.num_signs.zero_()
