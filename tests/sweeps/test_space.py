"""Spaces: what is drawn, when, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raylift.core.errors import ConfigError
from raylift.sweeps.space import Range, Space
from tests.sweeps.sweeps import SPACE

BASE = {"model.fourier.size": 16, "model.fourier.scale": 0.8, "optimizers.default.weight_decay": 1e-4}


@pytest.mark.parametrize(
    "dimension",
    [Range("uniform", -2, 5), Range("log_uniform", 1e-4, 10), Range("integer", -3, 4), Range("log_integer", 1, 1000)],
)
def test_draws_fill_their_scale_evenly(dimension: Range) -> None:
    generator = np.random.default_rng(0)
    values = np.array([dimension.draw(generator) for _ in range(4000)])
    assert values.min() >= dimension.low
    assert values.max() <= dimension.high
    scaled = np.log(values) if dimension.is_log else values
    low, high = float(dimension.low), float(dimension.high)
    if dimension.is_whole:
        assert all(float(value).is_integer() for value in values)
    if dimension.is_log:
        low, high = math.log(low), math.log(high)
    elif dimension.is_whole:
        # Each stands for the half on both sides of it.
        low, high = low - 0.5, high + 0.5
    assert scaled.mean() == pytest.approx((low + high) / 2, abs=0.05 * (high - low))
    for share in (0.1, 0.25, 0.75, 0.9):
        expected = low + share * (high - low)
        assert np.quantile(scaled, share) == pytest.approx(expected, abs=0.09 * (high - low))
    assert dimension.clip(1e9) == dimension.high
    assert dimension.clip(-1e9) == dimension.low


def test_whole_numbers_are_drawn_from_end_to_end() -> None:
    draws = [Range("integer", 2, 4).draw(np.random.default_rng(seed)) for seed in range(60)]
    assert set(draws) == {2, 3, 4}


def test_conditions_hold_a_dimension_back() -> None:
    space = Space.from_dict(SPACE)
    drawn = [space.draw(BASE, 0, number) for number in range(40)]
    assert {values["model.fourier.size"] for values in drawn} == {0, 16}
    for values in drawn:
        assert ("optimizers.default.weight_decay" in values) == (values["model.fourier.size"] == 16)
    fixed = Space.from_dict({path: part for path, part in SPACE.items() if path != "model.fourier.size"})
    assert "optimizers.default.weight_decay" in fixed.draw(BASE, 0, 0), (
        "the recipe's own value counts where none is drawn"
    )
    assert "optimizers.default.weight_decay" not in fixed.draw({**BASE, "model.fourier.size": 8}, 0, 0)


def test_a_trial_s_draw_follows_from_seed_and_number_alone() -> None:
    space = Space.from_dict(SPACE)
    assert space.draw(BASE, 3, 7) == space.draw(BASE, 3, 7)
    assert space.draw(BASE, 3, 7) != space.draw(BASE, 4, 7)
    fewer = Space.from_dict({"model.fourier.scale": SPACE["model.fourier.scale"]})
    assert fewer.draw(BASE, 3, 7).items() <= space.draw(BASE, 3, 7).items(), "other dimensions do not matter"


def test_a_grid_has_every_combination_once() -> None:
    parts = {"a": {"kind": "grid", "values": [1, 2]}, "b": {"kind": "choice", "values": ["x", "y", "z"]}}
    space = Space.from_dict({**parts, "c": {"kind": "grid", "values": [[1, 2], [3]], "when": {"b": ["z"]}}})
    cells = space.grid({})
    assert len(cells) == 2 * (2 + 2)
    assert cells[0] == {"a": 1, "b": "x"}
    assert {"a": 2, "b": "z", "c": (1, 2)} in cells, "lists are the tuples that recipes hold"
    with pytest.raises(ConfigError, match=r"a grid over d, of kind range"):
        Space.from_dict({"d": {"kind": "uniform", "low": 0, "high": 1}}).grid({})


def test_grid_dimensions_of_a_random_search_take_turns() -> None:
    space = Space.from_dict({"a": {"kind": "grid", "values": [1, 2, 3]}, "b": SPACE["model.fourier.scale"]})
    assert [space.draw({}, 0, number)["a"] for number in range(6)] == [1, 2, 3, 1, 2, 3]


def test_corners_show_every_value_even_where_combinations_are_too_many() -> None:
    few = Space.from_dict(SPACE).corners(BASE)
    assert len(few) == 3 * (1 + 3)
    many = Space.from_dict({f"p{n}": {"kind": "choice", "values": list(range(5))} for n in range(6)}).corners({})
    assert len(many) <= 256
    for n in range(6):
        assert {values[f"p{n}"] for values in many} == set(range(5))


def test_the_recipe_s_own_values_are_a_trial_only_where_the_space_has_them() -> None:
    space = Space.from_dict(SPACE)
    assert space.own(BASE) == BASE
    assert space.own({**BASE, "model.fourier.scale": 40.0}) is None


def test_round_trip() -> None:
    space = Space.from_dict(SPACE)
    assert Space.from_dict(space.to_dict()) == space


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"kind": "normal"}, "space.a has kind 'normal'"),
        (3, "space.a has kind 3"),
        ({"kind": "uniform", "low": 1}, r"space\.a\.high is missing"),
        ({"kind": "uniform", "low": 1, "high": 0}, "low 1.0 is not below high 0.0"),
        ({"kind": "log_uniform", "low": 0, "high": 1}, "logarithmic"),
        ({"kind": "integer", "low": 0.5, "high": 2}, "whole numbers"),
        ({"kind": "choice", "values": []}, "no values"),
        ({"kind": "choice", "values": [1], "valeus": 1}, "valeus"),
        ({"kind": "choice", "values": [1], "when": {"b": [1]}}, "depends on b, which comes after"),
    ],
)
def test_what_is_no_space_is_refused(part: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Space.from_dict({"a": part, "b": {"kind": "choice", "values": [1]}})
