"""Normalisation that never mixes samples, so that a split batch has the same results (law 1)."""

from __future__ import annotations

import math

from torch import nn

MOST_GROUPS = 32
CHANNELS_A_GROUP = 4


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu and He 2018) with at most 32 groups of at least 4 channels, if the width allows it.

    Batch normalisation would make a sample's features depend on which other samples share its worker.
    """
    groups = math.gcd(MOST_GROUPS, channels // CHANNELS_A_GROUP) if channels % CHANNELS_A_GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)
