"""The demo's arguments; ``test_installed.py`` runs its smallest form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tyro

from raylift.commands import prepare
from raylift.commands.demo import TINY_SHAPES, Arguments, prepare_settings, shrunk
from raylift.core.errors import ConfigError
from raylift.models import catalogue


def test_the_smallest_form_needs_no_network_no_ray_and_few_numbers() -> None:
    tiny = shrunk(Arguments(tiny=True, overrides=("seed=3",)))
    assert (tiny.source, tiny.out) == ("procedural:6", Path("runs/demo-tiny"))
    recipe = catalogue.get(tiny.recipe, tiny.overrides)
    assert (recipe.scale.workers, recipe.evaluation.lpips, recipe.seed) == (0, False, 3)
    words = ["shapes", "--source", tiny.source, "--out", "x", *map(str, prepare_settings(tiny))]
    given = tyro.cli(prepare.Arguments, args=words)
    assert given.local
    assert (given.config.num_views, given.config.image_px) == (2, 32)
    for name, value in TINY_SHAPES.items():
        assert getattr(given.config, name.replace("-", "_")) == value


def test_what_the_user_names_is_kept() -> None:
    tiny = shrunk(Arguments(tiny=True, out=Path("here"), source="folder:meshes"))
    assert (tiny.source, tiny.out) == ("folder:meshes", Path("here"))


@pytest.mark.parametrize("given", [{"recipe": "implicit/paper"}, {"image_px": 64}, {"resolution": 16}])
def test_sizes_of_its_own_are_refused_with_it(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="together with --tiny"):
        shrunk(Arguments(tiny=True, **given))
