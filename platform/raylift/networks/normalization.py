"""Normalisation that never mixes samples, so that a split batch gives the same numbers (law 1)."""

from __future__ import annotations

import math

from torch import nn

MOST_GROUPS = 32
CHANNELS_A_GROUP = 4


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu and He 2018) with at most 32 groups of, where the width allows it, at least 4 channels.

    Batch normalisation would make a sample's features depend on which other samples share its worker.
    """
    groups = math.gcd(MOST_GROUPS, channels // CHANNELS_A_GROUP) if channels % CHANNELS_A_GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)
