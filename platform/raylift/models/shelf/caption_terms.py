"""Supervision by captions: equation 11 on the seen and on a novel view, and novel views against the image itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from raylift.core.captions import caption_keys, decode_captions, has_caption
from raylift.core.collectives import share_of_mean, share_of_weighted_mean
from raylift.core.model import Term
from raylift.losses.image_text import background_gain, contrastive_loss, cosine_loss
from raylift.models.shelf.state import ForwardState
from raylift.models.shelf.views import Pictures
from raylift.networks.image_text.towers import FrozenImageText
from raylift.rendering.backgrounds import composite, draw_backgrounds


def caption_terms(state: ForwardState, towers: FrozenImageText) -> list[Term]:
    """Equation 11 as a loss, a mean over samples with captions; it trains latents and decoder, not cameras.

    Pictures are put on random backgrounds (Jain et al. 2022): what CLIP likes about a background is no reason to paint
    one. A novel view is compared with the image by the same image tower, on another background.
    """
    config, weights = state.config, state.config.weights
    starts = state.step_info.step >= config.captions.from_step
    novel = _features(state, towers, state.open_novel, "novel")
    terms = []
    if weights.caption:
        captions = state.batch["caption"]
        known = has_caption(captions)
        text = towers.encode_text(decode_captions(captions), novel)
        seen = _features(state, towers, state.open_seen, "seen")
        if config.captions.form == "cosine":
            losses = [cosine_loss(image, text) for image in (seen, novel)]
        else:
            keys = caption_keys(captions)
            losses = [contrastive_loss(image, text, keys, known, config.captions.scale) for image in (seen, novel)]
        share = share_of_weighted_mean(torch.stack(losses).mean(dim=0), known)
        terms.append(Term("caption", share, weights.caption if starts else 0.0))
    if weights.image_similarity:
        with torch.no_grad():
            image = _features(state, towers, state.images, "image")
        share = share_of_mean(cosine_loss(novel, image))
        terms.append(Term("image_similarity", share, weights.image_similarity if starts else 0.0))
    return terms


def _features(state: ForwardState, towers: FrozenImageText, pictures: Pictures, purpose: str) -> Tensor:
    info, px = state.step_info, pictures.rgb.shape[-1]
    background = draw_backgrounds(state.batch.keys, info.seed, info.step, px, purpose=f"caption {purpose}")
    return towers.encode_image(composite(pictures.rgb, pictures.alpha, background.to(pictures.rgb)).clamp(0, 1))


def caption_background_gain(state: ForwardState, towers: FrozenImageText) -> Float[Tensor, "B"]:
    """How much of the seen views' score comes from outside of their objects, over two backgrounds; 0 is right."""
    seen, keys = state.open_seen, state.batch.keys
    text = towers.encode_text(decode_captions(state.batch["caption"]), seen.rgb)
    backgrounds = [
        draw_backgrounds(keys, state.step_info.seed, 0, seen.rgb.shape[-1], purpose=purpose).to(seen.rgb)
        for purpose in ("first swap", "second swap")
    ]
    margin = 2
    inside = (max_pool2d(state.images.alpha, 2 * margin + 1, stride=1, padding=margin) > 0).to(seen.rgb)

    def similarity(image: Tensor) -> Tensor:
        return (towers.encode_image(image) * text).sum(dim=-1)

    return background_gain(similarity, seen.rgb, seen.alpha, inside, backgrounds)
