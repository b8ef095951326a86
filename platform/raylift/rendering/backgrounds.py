"""Random backgrounds, the same way for real and for rendered images, so that no background is worth painting.

After Dream Fields (Jain et al. 2022): noise, a checkerboard or a smooth random texture, a third each, blurred by a
random amount. Draws are keyed by (seed, step, sample): whichever rank holds a sample, it has the same background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload
from raylift.core.errors import ConfigError
from raylift.core.generators import torch_generator

BackgroundKind = Literal["noise", "checkerboard", "fourier", "white"]
RANDOM: tuple[BackgroundKind, ...] = ("noise", "checkerboard", "fourier")
"""Dream Fields' three."""
MOST_BLUR = 0.05
"""Largest standard deviation of the blur, as a fraction of the image's side: 11 pixels of 224."""
SQUARES = (2, 16)
"""Fewest and most squares along a side of a checkerboard."""
DECAY = (0.5, 2.0)
"""Range of the exponent with which a texture's amplitudes fall with frequency."""


def composite(
    premultiplied: Float[Tensor, "B 3 H W"], alpha: Float[Tensor, "B 1 H W"], background: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B 3 H W"]:
    """RGB over a background: C + (1 - alpha) background; differentiable in colour and coverage."""
    return premultiplied + (1 - alpha) * background


def premultiplied_from_white(
    image: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, "B 3 H W"]:
    """Premultiplied RGB of an image composited on white, as batches have it (``core.types``)."""
    return (image - (1 - mask)).clamp(min=0)


def draw_backgrounds(
    keys: Int[Tensor, "B"],
    seed: int,
    step: int,
    px: int,
    kinds: Sequence[BackgroundKind] = RANDOM,
    purpose: str = "background",
) -> Float[Tensor, "B 3 P P"]:
    """One background per sample, RGB in [0, 1], float32, on the device of ``keys``.

    Args:
        keys: keys of the samples (``Batch.keys``).
        seed, step: of the run.
        px: side of the images.
        kinds: equally likely; ("white",) is the background of stored images.
        purpose: another text gives other draws for the same samples, for further views.

    Raises:
        ConfigError: no kind, or an unknown one.
    """
    unknown = [kind for kind in kinds if kind not in (*RANDOM, "white")]
    if unknown or not kinds:
        raise ConfigError(f"backgrounds {list(kinds)}", f"use some of {', '.join((*RANDOM, 'white'))}")
    drawn = [_draw(torch_generator(seed, step, key, purpose), px, kinds) for key in numbers_of(keys)]
    values = upload(torch.stack([image for image, _ in drawn]), keys.device)
    sigmas = upload(torch.tensor([sigma for _, sigma in drawn]), keys.device)
    return blurred(values, sigmas)


def _draw(draws: torch.Generator, px: int, kinds: Sequence[BackgroundKind]) -> tuple[Tensor, float]:
    """A background [3, P, P] and the blur that it is to have, in pixels."""
    choice, blur = torch.rand(2, generator=draws).tolist()
    kind = kinds[min(int(choice * len(kinds)), len(kinds) - 1)]
    if kind == "white":
        return torch.ones(3, px, px), 0.0
    image = {"noise": _noise, "checkerboard": _checkerboard, "fourier": _fourier}[kind](draws, px)
    return image, MOST_BLUR * px * blur


def _noise(draws: torch.Generator, px: int) -> Tensor:
    return torch.rand(3, px, px, generator=draws)


def _checkerboard(draws: torch.Generator, px: int) -> Tensor:
    """Two colours, in squares of a random size and offset."""
    colors = torch.rand(2, 3, generator=draws)
    size, right, down = torch.rand(3, generator=draws).tolist()
    side = px / (SQUARES[0] + size * (SQUARES[1] - SQUARES[0]))
    axis = torch.arange(px)
    columns, rows = ((axis / side + 2 * shift).floor().long() for shift in (right, down))
    odd = (columns[None] + rows[:, None]) % 2
    return colors[odd].permute(2, 0, 1)


def _fourier(draws: torch.Generator, px: int) -> Tensor:
    """Random waves whose amplitudes fall with their frequency, each channel scaled to [0, 1]."""
    decay = DECAY[0] + (DECAY[1] - DECAY[0]) * torch.rand((), generator=draws).item()
    frequency = _frequencies(px)
    frequency[0, 0] = math.inf  # no constant part: it is set by the scaling
    spectrum = torch.randn(3, *frequency.shape, 2, generator=draws) * frequency.pow(-decay)[..., None]
    waves = torch.fft.irfft2(torch.view_as_complex(spectrum), s=(px, px))
    low, high = waves.amin(dim=(1, 2), keepdim=True), waves.amax(dim=(1, 2), keepdim=True)
    return (waves - low) / (high - low).clamp(min=1e-12)


def _frequencies(px: int) -> Tensor:
    """Length of each frequency of a half spectrum, in cycles per pixel: [P, P // 2 + 1]."""
    return torch.hypot(torch.fft.fftfreq(px)[:, None], torch.fft.rfftfreq(px)[None])


def blurred(image: Float[Tensor, "B 3 P P"], sigmas_px: Float[Tensor, "B"]) -> Float[Tensor, "B 3 P P"]:
    """Gaussian blur with a standard deviation per image, periodic at the borders; 0 leaves an image as it is."""
    px = image.shape[-1]
    frequency = upload(_frequencies(px), image.device).to(image)
    passed = torch.exp(-2 * math.pi**2 * sigmas_px[:, None, None].square() * frequency.square())
    smooth = torch.fft.irfft2(torch.fft.rfft2(image) * passed[:, None], s=(px, px)).clamp(0, 1)
    return torch.where(sigmas_px[:, None, None, None] > 0, smooth, image)
