"""Supervision by captions: equation 11 on the seen and on a novel view, and novel views against the image itself."""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.captions import caption_keys, decode_captions, has_caption
from raylift.core.collectives import share_of_mean, share_of_weighted_mean
from raylift.core.model import Term
from raylift.losses.image_text import contrastive_loss, cosine_loss
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
