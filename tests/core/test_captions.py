"""Captions as bytes: what goes in comes out, whatever the alphabet and the length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylift.core.captions import CAPTION_BYTES, caption_keys, decode_captions, encode_caption, has_caption


def stacked(*texts: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([encode_caption(text) for text in texts]))


@pytest.mark.parametrize("text", ["a chair", "木の椅子", "деревянный стул", "كرسي خشبي", "a 🪑 chair", ""])
def test_a_caption_survives(text: str) -> None:
    batch = stacked(text)
    assert batch.shape == (1, CAPTION_BYTES)
    assert decode_captions(batch) == [text]
    assert has_caption(batch).item() == bool(text)


def test_a_long_caption_is_cut_between_code_points() -> None:
    for start in range(4):
        batch = stacked("x" * start + "椅" * 200)
        wanted = "x" * start + "椅" * ((CAPTION_BYTES - start) // 3)
        assert decode_captions(batch) == [wanted]
        assert bytes(batch[0].numpy()).rstrip(b"\0").decode() == wanted, "half a code point is stored"


def test_blank_captions_are_none() -> None:
    assert not has_caption(stacked("", "  \n", "\0")).any()


def test_equal_texts_have_equal_keys() -> None:
    first, second, third, fourth = caption_keys(stacked("A chair", "a chair", "a chair.", "Ein Stuhl")).tolist()
    assert first == second
    assert len({first, third, fourth}) == 3
