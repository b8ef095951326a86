"""Banks of features: what every place of every category's surface looks like, and what clutter looks like.

They are buffers, refreshed after each step from what the global batch showed, the same on every rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.collectives import gather_rows, global_sum
from raylift.core.errors import ConfigError
from raylift.core.generators import torch_generator
from raylift.geometry.octahedral import directions_of, pad_octahedral


@dataclass(frozen=True)
class NeuralTextureConfig:
    """The banks.

    Attributes:
        texels: N, texels along an edge of a category's texture.
        momentum: part of a texel that a step keeps; 0.9 in NeMo.
        num_clutter: K, prototypes of clutter; 0 for none.
        clutter_momentum: part of a prototype that a step keeps.
        clutter_patience: steps after which a prototype that nothing was nearest to starts anew.
    """

    texels: int = 64
    momentum: float = 0.9
    num_clutter: int = 64
    clutter_momentum: float = 0.9
    clutter_patience: int = 20

    def __post_init__(self) -> None:
        if self.texels < 2 or self.num_clutter < 0 or self.clutter_patience < 1:
            raise ConfigError(
                f"texture of {self.texels} texels, {self.num_clutter} prototypes, patience {self.clutter_patience}",
                "use at least 2 texels, 0 prototypes and a patience of 1",
            )
        if not (0 <= self.momentum < 1 and 0 <= self.clutter_momentum < 1):
            raise ConfigError(
                f"momenta {self.momentum} and {self.clutter_momentum} of the banks", "use values from 0 to below 1"
            )


class NeuralTexture(nn.Module):
    """theta and beta of the paper: a texture of unit features for each category, and K prototypes of clutter.

    Texel (row j, column i) is centred at uv ((i + 0.5) / N, (j + 0.5) / N) of the octahedral chart. It starts as a
    random direction, as in NeMo, so that places differ from the start.

    Args:
        config: sizes and momenta.
        num_categories: C.
        channels: D.
        seed: of the initial directions.

    Attributes:
        texture: unit vectors.
        seen: number of images that have shown each texel.
        clutter: unit vectors.
        idle: steps since a prototype was the nearest to anything; more than the patience before its first use.
        directions: each texel's direction on the sphere.
    """

    texture: Float[Tensor, "C N N D"]
    seen: Float[Tensor, "C N N"]
    clutter: Float[Tensor, "K D"]
    idle: Float[Tensor, "K"]
    directions: Float[Tensor, "T 3"]

    def __init__(self, config: NeuralTextureConfig, num_categories: int, channels: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        draws, side = torch_generator(seed, "neural texture"), config.texels
        drawn = torch.randn(num_categories, side, side, channels, generator=draws)
        self.register_buffer("texture", functional.normalize(drawn, dim=-1))
        self.register_buffer("seen", torch.zeros(num_categories, side, side))
        drawn = torch.randn(config.num_clutter, channels, generator=draws)
        self.register_buffer("clutter", functional.normalize(drawn, dim=-1))
        self.register_buffer("idle", torch.full((config.num_clutter,), float(config.clutter_patience)))
        centres = (torch.arange(side, dtype=torch.float64) + 0.5) / side
        v, u = torch.meshgrid(centres, centres, indexing="ij")
        directions = directions_of(torch.stack([u, v], dim=-1).reshape(-1, 2)).float()
        self.register_buffer("directions", directions, persistent=False)

    @property
    def num_categories(self) -> int:
        return self.texture.shape[0]

    @property
    def known(self) -> Bool[Tensor, "C N N"]:
        """Texels that some image has shown."""
        return self.seen > 0

    def read(
        self, category: Int[Tensor, "B"], uv: Float[Tensor, "B H W 2"], unseen: bool = False
    ) -> Float[Tensor, "B H W D"]:
        """Features at uv in [0, 1]^2, bilinear across the chart's border, differentiable in uv.

        Args:
            unseen: whether texels that no image has shown are read as they started.

        Returns:
            unit vectors; zero, which resembles nothing, where none of the texels around was ever seen.
        """
        side, textures = self.config.texels, self.texture[category]
        if not unseen:
            textures = textures * self.known[category][..., None].to(textures.dtype)
        place = (2 * (uv.to(textures.dtype) * side + 1)) / (side + 2) - 1
        padded = pad_octahedral(textures.movedim(-1, 1), 1)
        values = functional.grid_sample(padded, place, padding_mode="border", align_corners=False)
        return functional.normalize(values.movedim(1, -1), dim=-1)

    def texel_features(self, category: Int[Tensor, "*S"], texel: Int[Tensor, "*S"]) -> Float[Tensor, "*S D"]:
        """Features of texels by their index j N + i, seen or not."""
        found: Tensor = self.texture.flatten(1, 2)[category, texel]
        return found

    def texels_at(self, uv: Float[Tensor, "*S 2"]) -> Int[Tensor, "*S"]:
        """Indices j N + i of the texels that contain uv."""
        side = self.config.texels
        column, row = (uv * side).floor().clamp(0, side - 1).long().unbind(-1)
        return row * side + column

    def scores(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B H W"]:
        """c: cosine with the most similar prototype of clutter; 0 without prototypes."""
        if not len(self.clutter):
            return features.new_zeros(features.shape[0], *features.shape[2:])
        return torch.einsum("bdhw,kd->bkhw", features, self.clutter.to(features.dtype)).amax(dim=1)

    @torch.no_grad()
    def update(
        self,
        category: Int[Tensor, "B"],
        texels: Int[Tensor, "B S"],
        features: Float[Tensor, "B S D"],
        valid: Bool[Tensor, "B S"],
    ) -> None:
        """Move every texel that the global batch showed towards the mean of its features, and no other.

        NeMo divides by the batch size instead of by the number of images that show a place, so places that are rarely
        seen hardly move. Every rank must call this, with its own samples.

        Args:
            texels: indices j N + i of this rank's surface samples.
            valid: samples that count.
        """
        side, channels = self.config.texels, self.texture.shape[-1]
        place = (category[:, None] * side * side + texels)[valid]
        sums = self.texture.new_zeros(self.seen.numel(), channels + 1)
        shown = features[valid].to(sums)
        sums.index_add_(0, place, torch.cat([shown, shown.new_ones(len(shown), 1)], dim=1))
        sums = global_sum(sums)
        counts = sums[:, -1]
        texture = self.texture.view(-1, channels)
        self.texture.copy_(_moved(texture, sums[:, :-1], counts, self.config.momentum).view_as(self.texture))
        self.seen += counts.view_as(self.seen)

    @torch.no_grad()
    def update_clutter(
        self, features: Float[Tensor, "B P D"], valid: Bool[Tensor, "B P"], seed: int, step: int
    ) -> None:
        """Move every prototype towards the mean of the background features that it is the nearest to.

        A prototype that was the nearest to none for some steps becomes a drawn background feature. Every rank must call
        this, with its own samples.

        Args:
            features: unit vectors of this rank's background cells.
            valid: features that count.
            seed, step: of the draw.
        """
        kept = gather_rows(valid.long()) > 0
        shown = gather_rows(features.to(self.clutter))[kept]
        if not len(self.clutter) or not len(shown):
            return
        counts = shown.new_zeros(len(self.clutter))
        started = self.idle < self.config.clutter_patience
        if bool(started.any()):
            scores = (shown @ self.clutter.mT).masked_fill(~started, -torch.inf)
            nearest = scores.argmax(dim=1)
            counts = counts.index_add(0, nearest, shown.new_ones(len(shown)))
            sums = torch.zeros_like(self.clutter).index_add(0, nearest, shown)
            self.clutter.copy_(_moved(self.clutter, sums, counts, self.config.clutter_momentum))
        self.idle.copy_(torch.where(counts > 0, torch.zeros_like(self.idle), self.idle + 1))
        anew = (self.idle >= self.config.clutter_patience).nonzero()[:, 0]
        order = torch.randperm(len(shown), generator=torch_generator(seed, step, "clutter"))[: len(anew)]
        anew = anew[: len(order)]
        self.clutter[anew] = shown[order.to(shown.device)]
        self.idle[anew] = 0


def _moved(old: Tensor, sums: Tensor, counts: Tensor, momentum: float) -> Tensor:
    """Unit vectors moved towards the means of what was counted; where nothing was, the old ones."""
    mean = sums / counts.clamp(min=1)[:, None]
    moved = functional.normalize(momentum * old + (1 - momentum) * mean, dim=-1)
    return torch.where(counts[:, None] > 0, moved, old)
