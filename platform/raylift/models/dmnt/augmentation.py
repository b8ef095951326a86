"""Other colours and mirror images of training images: a few dozen objects have more of them than their renders show."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.core.generators import keyed_uniforms
from raylift.core.step_info import StepInfo
from raylift.models.dmnt.pasting import PastingConfig
from raylift.rendering.image_changes import luminance, mirrored_where
from raylift.rendering.uv_fragments import UvFragments


@dataclass(frozen=True)
class AugmentationConfig:
    """What training changes in its images; none by default, as in NeMo.

    Attributes:
        mirror: whether half of the samples are mirrored. Their surface coordinates are those of the mirrored object.
        color: largest relative change of contrast and of each channel, and twice the largest change of brightness.
        grey: largest part of its colour that an image loses.
        paste: occluders.
    """

    mirror: bool = False
    color: float = 0.0
    grey: float = 0.0
    paste: PastingConfig = field(default_factory=PastingConfig)

    def __post_init__(self) -> None:
        if not (0 <= self.color < 1 and 0 <= self.grey <= 1):
            raise ConfigError(
                f"augmentation.color is {self.color}, grey {self.grey}", "use 0 <= color < 1 and 0 <= grey <= 1"
            )


@dataclass(frozen=True)
class Augmentation:
    """Changes of B samples, keyed by (seed, step, sample).

    Attributes:
        mirrored: samples that are mirrored left to right.
        gain, shift: of each channel.
        grey: part of the colour that is lost.
    """

    mirrored: Bool[Tensor, "B"]
    gain: Float[Tensor, "B 3"]
    shift: Float[Tensor, "B 3"]
    grey: Float[Tensor, "B"]

    @staticmethod
    def drawn(config: AugmentationConfig, keys: Int[Tensor, "B"], step_info: StepInfo) -> Augmentation:
        """The changes of these samples at this step."""

        def uniform(purpose: str) -> Tensor:
            return keyed_uniforms(keys, step_info.seed, step_info.step, f"augmentation {purpose}")

        def signed(purpose: str) -> Tensor:
            return config.color * (2 * uniform(purpose) - 1)

        contrast = 1 + signed("contrast")[:, None]
        gain = contrast * (1 + torch.stack([signed(channel) for channel in "rgb"], dim=1))
        shift = (0.5 * (1 - contrast) + 0.5 * signed("brightness")[:, None]).expand(-1, 3)
        return Augmentation((uniform("mirror") < 0.5) & config.mirror, gain, shift, config.grey * uniform("grey"))

    def image(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Changed RGB in [0, 1]."""
        grey, gain, shift = (part.to(image) for part in (self.grey[:, None, None, None], self.gain, self.shift))
        faded = image + grey * (luminance(image) - image)
        return self.flipped((faded * gain[..., None, None] + shift[..., None, None]).clamp(0, 1))

    def flipped(self, values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Maps of mirrored images."""
        return mirrored_where(values, self.mirrored)

    def fragments(self, fragments: UvFragments) -> UvFragments:
        """What mirrored images show: in the octahedral chart, the mirror image at x = 0 of (u, v) is (1 - u, v)."""
        u, v = fragments.uv.unbind(-1)
        flipped = torch.where(self.mirrored[:, None, None], 1 - u, u)
        uv = mirrored_where(torch.stack([flipped, v], dim=-1), self.mirrored, axis=2)
        mask, depth, face = (
            mirrored_where(part, self.mirrored, axis=2) for part in (fragments.mask, fragments.depth, fragments.face)
        )
        return replace(fragments, uv=uv, mask=mask, depth=depth, face=face)
