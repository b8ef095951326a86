"""Many cameras for every image of the training set, optimised with the network and then pruned (UCMR).

Every image has its own 8 azimuths x 5 elevations = 40 cameras, rows of a table. The table, the remaining cameras and
their errors are in parameters and buffers of fixed shapes: a checkpoint is the state_dict, and it loads whether the
table was pruned or not.

The table is the same for any number of workers. A step's gradient is dense: zero in the rows of images that are not in
the batch. Each rank's share of the loss touches the rows of its own samples, DistributedDataParallel averages gradients
over ranks and the step scales shares by the world size, so that the rows' gradients are *summed*: a row in one rank's
batch gets exactly that rank's gradient, a row in two ranks' batches gets both. Scores are gathered from all ranks in
rank order, which is the global batch's order. With Adam, a row keeps moving by its momentum on steps without its image,
the same on every rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.errors import ConfigError, DataError
from raylift.geometry.camera_hypotheses import (
    NUM_CAMERA_NUMBERS,
    CameraHypotheses,
    hypotheses_from_numbers,
    orbit_quaternions,
)

NUM_AZIMUTHS = 8
ELEVATIONS_DEG = (-30.0, -10.0, 10.0, 30.0, 50.0)


class CameraMultiplex(nn.Module):
    """A table of cameras by image.

    Args:
        num_images: number of rows; images are identified by a dense index in [0, num_images).
        num_azimuths: number of azimuths, equally spaced, starting at the front.
        elevations_deg: elevations of each azimuth's cameras.
        initial_scale: image half-widths per world unit.

    Attributes:
        numbers: free parameters of the cameras (``geometry.camera_hypotheses``).
        kept: camera indices of each image, of which the first ``num_kept`` remain.
        num_kept: number of cameras that remain per image.
        score_sum, score_count: sum and number of each camera's errors since ``reset_scores``.

    Raises:
        ConfigError: no images or no cameras.
    """

    base: Tensor
    kept: Tensor
    num_kept: Tensor
    score_sum: Tensor
    score_count: Tensor

    def __init__(
        self,
        num_images: int,
        num_azimuths: int = NUM_AZIMUTHS,
        elevations_deg: Sequence[float] = ELEVATIONS_DEG,
        initial_scale: float = 1.6,
    ) -> None:
        super().__init__()
        count = num_azimuths * len(elevations_deg)
        if num_images < 1 or count < 1 or not initial_scale > 0:
            raise ConfigError(
                f"a multiplex of {count} cameras of scale {initial_scale} for {num_images} images",
                "use at least one image and one camera, and a scale above 0",
            )
        self.initial_scale = initial_scale
        azimuths = torch.arange(num_azimuths).repeat_interleave(len(elevations_deg)) * (360.0 / num_azimuths)
        elevations = torch.tensor(list(elevations_deg), dtype=torch.float32).repeat(num_azimuths)
        self.numbers = nn.Parameter(torch.zeros(num_images, count, NUM_CAMERA_NUMBERS))
        self.register_buffer("base", orbit_quaternions(azimuths, elevations))
        self.register_buffer("kept", torch.arange(count).repeat(num_images, 1))
        self.register_buffer("num_kept", torch.tensor(count))
        self.register_buffer("score_sum", torch.zeros(num_images, count, dtype=torch.float64))
        self.register_buffer("score_count", torch.zeros(num_images, dtype=torch.float64))

    def forward(self, images: Int[Tensor, "B"]) -> CameraHypotheses:
        """Return each image's remaining cameras, as equally probable; losses weight them.

        Raises:
            DataError: an index outside of the table.
        """
        kept = self._left(images)
        numbers = self.numbers[images[:, None], kept]
        return hypotheses_from_numbers(numbers, self.base[kept], torch.zeros_like(numbers[..., 0]), self.initial_scale)

    @torch.no_grad()
    def observe(self, images: Int[Tensor, "B"], errors: Float[Tensor, "B H"]) -> None:
        """Store the error of each camera on its image. **If one rank calls it in a step, every rank must.**

        Args:
            images: indices of this rank's images.
            errors: errors of the cameras that ``forward`` returned.
        """
        kept = self._left(images)
        # One gather: the index travels with its errors, exact in float64 up to 2^53 images.
        rows = torch.cat([images[:, None].double(), kept.double(), errors.double()], dim=1)
        everyone = collectives.gather_rows(rows)
        number = kept.shape[1]
        index, camera = everyone[:, 0].long(), everyone[:, 1 : 1 + number].long()
        self.score_sum.index_put_((index[:, None], camera), everyone[:, 1 + number :], accumulate=True)
        self.score_count.index_put_((index,), torch.ones_like(everyone[:, 0]), accumulate=True)

    @torch.no_grad()
    def prune(self, keep: int) -> None:
        """Keep each image's ``keep`` cameras of least mean error, best first; ties in their old order.

        Raises:
            ConfigError: more than remain, or none.
        """
        left = int(self.num_kept)
        if not 1 <= keep <= left:
            raise ConfigError(f"cannot prune a multiplex of {left} cameras to {keep}", f"keep between 1 and {left}")
        own = self.kept[:, :left]
        # All cameras of an image were observed equally often, so sums rank like means.
        order = self.score_sum.gather(1, own).argsort(dim=1, stable=True)
        self.kept[:, :left] = own.gather(1, order)
        self.num_kept.fill_(keep)

    @torch.no_grad()
    def reset_scores(self) -> None:
        """Reset all errors, so that the next pruning uses only later ones."""
        self.score_sum.zero_()
        self.score_count.zero_()

    def _left(self, images: Tensor) -> Tensor:
        if images.numel() and not (int(images.min()) >= 0 and int(images.max()) < len(self.kept)):
            raise DataError(
                f"an image index is outside of the multiplex's 0..{len(self.kept) - 1}",
                "the data set has changed since the run began: start a new run on it",
            )
        return self.kept[images][:, : int(self.num_kept)]
