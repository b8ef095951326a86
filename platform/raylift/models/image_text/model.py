"""The image-text model: its inputs, its loss, its features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.captions import caption_keys, decode_captions, has_caption
from raylift.core.collectives import share_of_weighted_mean
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, ImageTextMatcher, LossOutput, Phase, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, CropRequest, SampleRequest
from raylift.losses.image_text import contrastive_loss
from raylift.models.image_text.config import ImageTextConfig
from raylift.models.image_text.network import ScaledTowers
from raylift.networks.image_text.two_tower import TwoTower
from raylift.rendering.backgrounds import composite, draw_backgrounds, premultiplied_from_white


class ImageTextTrainer(ImageTextMatcher):
    """Trains two towers so that an image is nearest to its own caption (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights depend on it alone.
    """

    def __init__(self, config: ImageTextConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "image_text", "weights"))
            self.network = ScaledTowers(config.towers, config.scale)

    @property
    def towers(self) -> TwoTower:
        """The towers."""
        return self.network.towers

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One group, one phase."""
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        """A crop of the object with its silhouette, and its caption."""
        config = self.config
        crop = CropRequest(config.padding, config.jitter, config.mirror)
        return SampleRequest(config.towers.image_px, crop=crop, caption=True)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The contrastive loss over the global batch, a mean over samples with captions."""
        captions = batch["caption"]
        known = has_caption(captions)
        values = contrastive_loss(
            self.towers.encode_image(self.on_backgrounds(batch, step_info)),
            self.towers.encode_text(decode_captions(captions)),
            caption_keys(captions),
            known,
            self.network.scale,
        )
        return LossOutput([Term("contrastive", share_of_weighted_mean(values, known.to(values.dtype)))])

    def on_backgrounds(self, batch: Batch, step_info: StepInfo) -> Float[Tensor, "B 3 H W"]:
        """The batch's images on random backgrounds, so that towers read objects and not what is behind them."""
        image, mask = batch["image"], batch["mask"]
        behind = draw_backgrounds(
            batch.keys, step_info.seed, step_info.step, image.shape[-1], self.config.backgrounds
        ).to(image)
        return composite(premultiplied_from_white(image, mask), mask, behind)

    @torch.no_grad()
    def embed(self, batch: Batch) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Unit vectors of the images, on white as they are stored, and of their captions."""
        return self.towers.encode_image(batch["image"]), self.towers.encode_text(decode_captions(batch["caption"]))

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """``similarity``: cosine of an image and its caption. Retrieval needs the whole split: ``evaluation``."""
        image, text = self.embed(batch)
        return {"similarity": (image * text).sum(dim=1)}
