"""Every value of every recipe is explained, and what is shown can be typed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from raylift.config import tree
from raylift.config.explain import explain, type_name
from raylift.config.overrides import parse_value
from raylift.config.recipe import Recipe
from raylift.models import catalogue


@pytest.fixture(scope="module")
def recipes() -> list[Recipe]:
    return [catalogue.get(name) for name in catalogue.names()]


def test_every_value_of_every_recipe_has_a_sentence(recipes: list[Recipe]) -> None:
    silent = {(recipe.model_name, one.path) for recipe in recipes for one in explain(recipe) if not one.meaning}
    assert not silent, "describe it under Attributes of its class"


def test_every_value_is_listed_once_and_can_be_set_as_it_is_shown(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        found = list(explain(recipe))
        assert [one.path for one in found] == list(tree.flatten(recipe))
        assert tree.override(recipe, [f"{one.path}={one.value}" for one in found]) == recipe
    free = {one.path for one in explain(recipes[0]) if one.is_free}
    assert {"scale.workers", "schedule.log_every"} <= free
    assert not {"seed", "schedule.num_steps"} & free


@dataclass(frozen=True)
class _Base:
    """A base.

    Attributes:
        width: its width.
        name: which.
    """

    width: int = 1
    name: str = "1,2"


@dataclass(frozen=True)
class _Tree(_Base):
    """A tree.

    Attributes:
        left, right: values on
            either side.
        width: its own width.
    """

    left: int | None = None
    right: tuple[float, ...] = (0.5,)
    base: _Base = field(default_factory=_Base)


def test_docstrings_are_inherited_and_may_share_a_sentence() -> None:
    found = {one.path: one for one in explain(_Tree())}
    assert found["left"].meaning == found["right"].meaning == "values on either side."
    assert (found["width"].meaning, found["base.width"].meaning) == ("its own width.", "its width.")
    assert (found["left"].type, found["right"].type) == ("int | none", "list of float")
    assert parse_value(found["name"].value) == "1,2", "a string that would be read as a list is quoted"
    assert type_name(tuple[int, str]) == "[int, str]"
