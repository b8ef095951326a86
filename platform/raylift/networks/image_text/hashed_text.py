"""Texts as hashed n-grams: no vocabulary, so every alphabet works and nothing has to be fitted."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from raylift.core.generators import stable_hash

_WORD = re.compile(r"\w+")
CHARACTERS = 3
"""Code points per n-gram of a word; they relate words that share a stem, and cut up scripts without spaces."""


@lru_cache(maxsize=65_536)
def hashed_ngrams(text: str, num_buckets: int) -> tuple[int, ...]:
    """The buckets of a text's words, pairs of adjacent words, and code point triples within words.

    Unicode forms and upper and lower case are unified; punctuation is dropped. A text without any word has one bucket.

    Returns:
        Indices in [0, num_buckets), at least one, in a fixed order; the same in every process.
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    grams = [f"word {word}" for word in words]
    grams += [f"pair {first} {second}" for first, second in pairwise(words)]
    for word in words:
        framed = f"<{word}>"
        grams += [f"part {framed[at : at + CHARACTERS]}" for at in range(max(1, len(framed) - CHARACTERS + 1))]
    return tuple(stable_hash(gram, "n-gram") % num_buckets for gram in grams or ["empty"])
