"""Retrieval of held-out captions by image, with what needs no learning next to it (law 7)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core import collectives
from raylift.core.captions import decode_captions
from raylift.core.model import ImageTextMatcher
from raylift.core.types import Batch
from raylift.evaluation.samples import eval_mode
from raylift.metrics.scores import mean_of

_TOP = (1, 5)
_THUMBNAIL_PX = 16


@dataclass(frozen=True)
class KnownImages:
    """Captions of training images, and their thumbnails, by which the nearest one is found."""

    captions: tuple[str, ...]
    thumbnails: Float[Tensor, "N P"]


def known_images(batches: Iterable[Batch]) -> KnownImages:
    """The captioned images of these batches, the same on every rank, which has its own share of them."""
    own = [(text, row) for batch in batches for text, row in zip(*_captioned(batch), strict=True)]
    pairs = [pair for share in collectives.gather_objects(own) for pair in share]
    rows = [row for _, row in pairs] or [torch.zeros(3 * _THUMBNAIL_PX**2)]
    return KnownImages(tuple(text for text, _ in pairs), torch.stack(rows))


def validate_retrieval(
    model: ImageTextMatcher, batches: Iterable[Batch], known: KnownImages | None = None, prefix: str = "val"
) -> dict[str, float]:
    """How often an image's own caption is the first, or among the first five, of all distinct captions of the split.

    Every rank calls it with its own share (which may be empty); all return the same numbers. Next to ``top1`` and
    ``top5``, of the same images: ``chance`` and ``chance5``, of a random order; ``constant``, the most frequent
    caption for every image; ``nearest`` and ``nearest5``, captions in the order of words shared with that of the
    nearest training image, by pixels. Exact captions are a hard test where many say nearly the same, so ``words`` is
    the share of words (``shared_words``) of the first caption and the own one; ``words_chance`` and ``words_nearest``
    are that of a random caption and of the nearest training image's.

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        batches: batches with the fields of ``Model.request``; samples without a caption are left out.
        known: training images; None omits the last baseline.
        prefix: prefix of the names.
    """
    own: dict[str, tuple[str, Tensor, Tensor, Tensor]] = {}
    with eval_mode(model) as device:
        for batch in batches:
            image, text = (part.float().cpu() for part in model.embed(batch.to(device)))
            thumbnails = _thumbnails(batch)
            for row, (name, caption) in enumerate(zip(batch.ids, decode_captions(batch["caption"]), strict=True)):
                if caption:
                    own[name] = (caption.casefold(), image[row], text[row], thumbnails[row])
    everyone = {name: value for share in collectives.gather_objects(own) for name, value in share.items()}
    if not everyone:
        return {f"{prefix}/retrieval_samples": 0.0}
    rows = [everyone[name] for name in sorted(everyone)]
    features = {caption: text for caption, _, text, _ in rows}
    candidates = sorted(features)
    truth = [candidates.index(caption) for caption, *_ in rows]
    scores = torch.stack([image for _, image, _, _ in rows]) @ torch.stack([features[name] for name in candidates]).T
    found = {f"top{most}": _hits(scores, truth, most) for most in _TOP}
    found |= {"chance": 1 / len(candidates), "chance5": min(1.0, 5 / len(candidates))}
    found["constant"] = max(Counter(truth).values()) / len(truth)
    own_words = _words_shared([caption for caption, *_ in rows], candidates)
    found["words"] = float(own_words.gather(1, scores.argmax(dim=1, keepdim=True)).mean())
    found["words_chance"] = float(own_words.mean())
    if known is not None and known.captions:
        nearest = torch.cdist(torch.stack([thumbnail for *_, thumbnail in rows]), known.thumbnails).argmin(dim=1)
        answers = [known.captions[index] for index in nearest.tolist()]
        shared = _words_shared(answers, candidates)
        found |= {"nearest": _hits(shared, truth, 1), "nearest5": _hits(shared, truth, 5)}
        found["words_nearest"] = float(shared[torch.arange(len(rows)), torch.tensor(truth)].mean())
    return {f"{prefix}/{name}": value for name, value in found.items()} | {
        f"{prefix}/retrieval_samples": float(len(rows)),
        f"{prefix}/candidates": float(len(candidates)),
    }


def _hits(scores: Float[Tensor, "N C"], truth: Sequence[int], most: int) -> float:
    """Mean probability that the true candidate is among the first ``most``, ties in a random order."""
    hits = []
    for row, own in zip(scores, truth, strict=True):
        above, equal = int((row > row[own]).sum()), int((row == row[own]).sum())
        hits.append(min(1.0, max(0.0, (most - above) / equal)))
    return mean_of(hits)


def _words_shared(texts: Sequence[str], candidates: Sequence[str]) -> Float[Tensor, "N C"]:
    return torch.tensor([[shared_words(text, name) for name in candidates] for text in texts])


def shared_words(first: str, second: str) -> float:
    """Words of both captions over words of either, in [0, 1]."""
    one, other = (set(re.findall(r"\w+", text.casefold())) for text in (first, second))
    return len(one & other) / max(1, len(one | other))


def _captioned(batch: Batch) -> tuple[list[str], list[Tensor]]:
    texts = decode_captions(batch["caption"])
    kept = [row for row, text in enumerate(texts) if text]
    return [texts[row] for row in kept], list(_thumbnails(batch)[kept])


def _thumbnails(batch: Batch) -> Float[Tensor, "B P"]:
    return functional.adaptive_avg_pool2d(batch["image"].float().cpu(), _THUMBNAIL_PX).flatten(1)
