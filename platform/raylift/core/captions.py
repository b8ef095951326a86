"""Captions in batches: UTF-8 bytes of a fixed length, since a batch holds tensors only."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from raylift.core.device_copies import on_host, upload
from raylift.core.generators import stable_hash

CAPTION_BYTES = 256
"""Length of a caption in a batch; CLIP reads 77 tokens, which are about 300 bytes of English."""


def encode_caption(text: str) -> UInt8[np.ndarray, "256"]:
    """UTF-8 bytes of a caption, padded with zeros; one that is too long is cut between two code points.

    Surrounding whitespace and NUL characters are dropped, so a blank caption is all zeros.
    """
    content = text.replace("\0", "").strip().encode("utf-8", "ignore")[:CAPTION_BYTES]
    # A cut may leave the start of a code point, which "ignore" drops.
    whole = content.decode("utf-8", "ignore").rstrip().encode()
    row = np.zeros(CAPTION_BYTES, np.uint8)
    row[: len(whole)] = np.frombuffer(whole, np.uint8)
    return row


def decode_captions(captions: UInt8[Tensor, "B 256"]) -> list[str]:
    """The texts of ``encode_caption``; empty where a sample has no caption."""
    rows = on_host(captions).numpy()
    return [bytes(row[: np.count_nonzero(row)]).decode("utf-8", "ignore") for row in rows]


def has_caption(captions: UInt8[Tensor, "B 256"]) -> Bool[Tensor, "B"]:
    """Which samples have a caption."""
    return (captions != 0).any(dim=1)


def caption_keys(captions: UInt8[Tensor, "B 256"]) -> Int[Tensor, "B"]:
    """63-bit hash of each caption, equal for equal texts whichever rank holds them; upper and lower case are equal."""
    keys = [stable_hash(text.casefold(), "caption") for text in decode_captions(captions)]
    return upload(torch.tensor(keys, dtype=torch.int64), captions.device)
