"""Opens image and text towers by a name, the way a recipe gives it."""

from __future__ import annotations

import torch

from raylift.core.errors import ConfigError
from raylift.networks.image_text.open_clip_towers import open_clip_towers
from raylift.networks.image_text.run_towers import towers_of_run
from raylift.networks.image_text.towers import FrozenImageText
from raylift.networks.image_text.two_tower import TwoTower, TwoTowerConfig

FORMS = "run:FOLDER, local-dir:FOLDER, ViT-B-16:FILE or ViT-B-16:TAG"
_RANDOM = TwoTowerConfig(image_px=32, width=8, num_features=16, num_buckets=256, embedding=16)


def check_source(source: str) -> None:
    """Refuse a name that cannot be opened anywhere; reads nothing.

    Raises:
        ConfigError: it has none of the forms.
    """
    kind, separator, place = source.partition(":")
    if source != "random" and not (kind and separator and place):
        raise ConfigError(f"image and text towers {source!r}", f"use {FORMS}")


def open_image_text(source: str) -> FrozenImageText:
    """Load frozen towers.

    Args:
        source: ``run:FOLDER``, a run of this platform that trained two towers; ``local-dir:FOLDER``, an open_clip
            folder; ``ARCHITECTURE:FILE`` or ``ARCHITECTURE:TAG``, open_clip's architecture with a file of weights or
            published weights in the local cache; "random", small untrained towers with fixed weights, for tests only.

    Raises:
        ConfigError: none of these, or open_clip is not installed.
        WeightsError: the weights are missing, damaged, or of another architecture.
    """
    check_source(source)
    kind, _, place = source.partition(":")
    if source == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return FrozenImageText(TwoTower(_RANDOM))
    if kind == "run":
        return FrozenImageText(towers_of_run(place))
    return FrozenImageText(open_clip_towers(kind, place))
