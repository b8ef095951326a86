"""Supervision by an image-text network: images against captions, images against images, and the background's part.

Features are unit vectors (``networks.image_text``). Values are per sample; samples without a caption are 0, and the
caller weights them by ``core.captions.has_caption`` (``share_of_weighted_mean``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core import collectives
from raylift.rendering.backgrounds import composite

_EXCLUDED = -1e9
"""Logit of samples that are no candidates: finite, so that a batch without any captions has no NaN."""


def cosine_loss(first: Float[Tensor, "B D"], second: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
    """1 - cos of two features (shelf-supervised paper, enhanced, equation 11), in [0, 2].

    The paper defines L_CLIP = cos(I, T) = I . T / (|I| |T|) and adds it to the loss. Minimised, that drives an image
    away from its caption; the authors' code negates it (RazvanAndreiLazar/shelf-sup-mesh-ml3dg). The constant 1 makes
    the least value 0. The same function compares two images: a novel view and the input.

    Args:
        first, second: unit vectors.
    """
    return 1 - (first * second).sum(dim=-1)


def contrastive_loss(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "B D"],
    captions: Int[Tensor, "B"],
    with_caption: Bool[Tensor, "B"],
    scale: float | Tensor,
) -> Float[Tensor, "B"]:
    """Symmetric InfoNCE over the **global** batch (Radford et al. 2021), of this rank's samples.

    l_i = (H(image i, texts) + H(text i, images)) / 2, where H(a, B) = -mean over b in P(a) of log softmax_b(s a . B),
    and P(a) are the samples with a's caption (Khosla et al. 2020, equation 2): equal captions are not opposed. A score
    that all captions share cancels, which ``cosine_loss`` rewards instead.

    Args:
        image, text: unit vectors; other ranks' are gathered with their gradients.
        captions: equal for equal captions, on all ranks (``core.captions.caption_keys``).
        with_caption: samples that count; the others are 0 and no candidates.
        scale: s, the inverse temperature; CLIP learns about 100.

    Returns:
        0 or more; log N for features that tell nothing, of N samples with captions.
    """
    everyone = _Candidates(
        collectives.gather_rows(image),
        collectives.gather_rows(text),
        collectives.gather_rows(captions),
        collectives.gather_rows(with_caption.to(captions.dtype)) > 0,
    )
    same = captions[:, None] == everyone.captions
    by_image = _cross_entropy(scale * image @ everyone.text.mT, same, everyone.valid)
    by_text = _cross_entropy(scale * text @ everyone.image.mT, same, everyone.valid)
    values = (by_image + by_text) / 2
    return torch.where(with_caption, values, torch.zeros_like(values))


class _Candidates:
    """The global batch: features, captions, and which samples have one."""

    def __init__(self, image: Tensor, text: Tensor, captions: Tensor, valid: Tensor) -> None:
        self.image, self.text, self.captions, self.valid = image, text, captions, valid


def _cross_entropy(logits: Tensor, same: Tensor, valid: Tensor) -> Tensor:
    """Minus the mean log probability of the samples with the same caption, [B]."""
    logits = torch.where(valid, logits, torch.full_like(logits, _EXCLUDED))
    count = same.sum(dim=1).clamp(min=1)
    own = torch.where(same, logits, torch.zeros_like(logits)).sum(dim=1) / count
    return logits.logsumexp(dim=1) - own


@torch.no_grad()
def background_gain(
    similarity: Callable[[Tensor], Tensor],
    premultiplied: Float[Tensor, "B 3 H W"],
    alpha: Float[Tensor, "B 1 H W"],
    inside: Float[Tensor, "B 1 H W"],
    backgrounds: Sequence[Float[Tensor, "B 3 H W"]],
) -> Float[Tensor, "B"]:
    """How much an image's score gains from what was painted outside of its object, over swapped backgrounds.

    gain = mean over b of s(everything over b) - s(only what is inside over b). Both are seen on the same backgrounds,
    so a score that merely prefers one background cancels. Near 0 for an object without haze; above 0 where a model
    earns similarity by painting around its object.

    Args:
        similarity: s, a score per image of RGB in [0, 1], such as the cosine with its caption.
        premultiplied, alpha: a rendered view.
        inside: 1 where the object may be (its dilated silhouette), else 0.
        backgrounds: at least one (``rendering.backgrounds``).
    """
    gains = [
        similarity(composite(premultiplied, alpha, one))
        - similarity(composite(premultiplied * inside, alpha * inside, one))
        for one in backgrounds
    ]
    return torch.stack(gains).mean(dim=0)
