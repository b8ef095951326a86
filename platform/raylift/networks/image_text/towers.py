"""The interface of image-text networks: an image tower and a text tower with outputs in one space of unit vectors.

CLIP (Radford et al. 2021) is one. Preprocessing is part of the image tower's graph: in published code that renders
images and passes them through a file-oriented image processor, no gradient reaches what was rendered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.precision import at_least_float32

MOST_TEXTS = 65_536
"""Texts whose features are cached; 512 features of each take 128 MiB."""


class ImageTextModel(nn.Module):
    """An image tower and a text tower.

    Args:
        image_px: side of the images that the image tower reads.
        num_features: D, size of the shared space.
        mean, std: mean and standard deviation of its images, by channel, of RGB in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image_px: int, num_features: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.image_px = image_px
        self.num_features = num_features
        # A checkpoint holds what is learned; these are settings.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def image_features(self, pixels: Float[Tensor, "B 3 P P"]) -> Float[Tensor, "B D"]:
        """Features, of any length, of normalised images of ``image_px``."""

    @abstractmethod
    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        """Features, of any length, of texts."""

    def encode_image(self, rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Unit vectors of RGB in [0, 1], of any size; differentiable."""
        return unit(self.image_features((fit_square(rgb, self.image_px) - self.mean) / self.std))

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        """Unit vectors of texts."""
        return unit(self.text_features(texts))


class FrozenImageText:
    """Towers outside of a model: not trained, not in its checkpoints, moved to the device and type of their inputs.

    Args:
        towers: network to set to eval mode, without gradients to its parameters.
    """

    def __init__(self, towers: ImageTextModel) -> None:
        self.towers = towers.eval().requires_grad_(False)
        self._cached: dict[tuple[str, torch.dtype], Tensor] = {}

    @property
    def num_features(self) -> int:
        """D, size of the shared space."""
        return self.towers.num_features

    def encode_image(self, rgb: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Unit vectors of RGB in [0, 1], of any size; gradients reach the images, not the towers."""
        rgb = at_least_float32(rgb)
        return self._on(rgb).encode_image(rgb)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str], like: Tensor) -> Float[Tensor, "B D"]:
        """Unit vectors of texts, each computed once; on the device of ``like``, in its type or float32 if higher."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        missing = [text for text in dict.fromkeys(texts) if (text, dtype) not in self._cached]
        if missing:
            if len(self._cached) + len(missing) > MOST_TEXTS:
                self._cached.clear()
                missing = list(dict.fromkeys(texts))
            found = self._on(like.to(dtype)).encode_text(missing).cpu()
            self._cached |= {(text, dtype): row for text, row in zip(missing, found, strict=True)}
        return torch.stack([self._cached[text, dtype] for text in texts]).to(like.device)

    def _on(self, like: Tensor) -> ImageTextModel:
        return self.towers.to(like.device, like.dtype)


def fit_square(rgb: Float[Tensor, "B 3 H W"], px: int) -> Float[Tensor, "B 3 P P"]:
    """Bicubic resize of the shorter side to ``px``, then the central square, as CLIP does; differentiable.

    Interpolated values are cut to [0, 1], as in images of bytes.
    """
    rgb = at_least_float32(rgb)
    height, width = rgb.shape[-2:]
    if (height, width) == (px, px):
        return rgb
    short = min(height, width)
    size = (max(px, round(height * px / short)), max(px, round(width * px / short)))
    resized = functional.interpolate(rgb, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    top, left = (size[0] - px) // 2, (size[1] - px) // 2
    return resized[..., top : top + px, left : left + px]


def unit(features: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Features of length 1, in at least float32: a difference of cosines is smaller than bfloat16's steps."""
    return functional.normalize(at_least_float32(features), dim=-1)
