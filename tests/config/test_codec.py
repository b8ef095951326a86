"""One codec: what is written is read back, and what cannot be read is refused with its path and a remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from raylift.config.codec import from_dict, read_json, to_dict
from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class Leg:
    length: float
    shape: Literal["round", "square"] = "round"

    def __post_init__(self) -> None:
        if self.length <= 0:
            raise ConfigError("no length", "use more than 0")


@dataclass(frozen=True)
class Chair:
    legs: tuple[Leg, ...]
    seats: int = 1
    size: tuple[float, float] = (1.0, 1.0)
    prices: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    folds: bool = False


CHAIR = Chair((Leg(0.5), Leg(0.25, "square")), 2, (3.0, 4.0), {"new": 9.5}, "oak", True)


def test_what_is_written_is_read_back() -> None:
    assert from_dict(Chair, to_dict(CHAIR)) == CHAIR
    assert from_dict(Chair, to_dict(CHAIR)).prices == {"new": 9.5}


def test_missing_values_take_their_defaults_and_whole_numbers_are_numbers() -> None:
    found = read_json(Chair, '{"legs": [{"length": 2}], "seats": 3.0, "size": [1, 2]}')
    assert found == Chair((Leg(2.0),), 3, (1.0, 2.0))
    assert [type(value) for value in (found.seats, found.legs[0].length, found.size[0])] == [int, float, float]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "legs is missing"),
        ({"legs": [{}]}, r"legs\[0\]\.length is missing(.|\n)*a number"),
        ({"legs": [{"length": 1, "shap": "round"}]}, r"no 'legs\[0\]\.shap'(.|\n)*did you mean 'legs\[0\]\.shape'"),
        ({"legs": [{"length": 1, "shape": "squar"}]}, r"legs\[0\]\.shape is 'squar'(.|\n)*did you mean 'square'"),
        ({"legs": [{"length": 0}]}, r"legs\[0\]: no length(.|\n)*more than 0"),
        ({"legs": ["long"]}, r"legs\[0\] is 'long'(.|\n)*a mapping of length, shape"),
        ({"legs": "long"}, "legs is 'long'(.|\n)*a list"),
        ({"legs": [], "seats": "2"}, "seats is '2'(.|\n)*a whole number"),
        ({"legs": [], "seats": True}, "seats is True"),
        ({"legs": [], "seats": 1.5}, "seats is 1.5"),
        ({"legs": [], "size": [1]}, r"size is \[1\](.|\n)*2 values"),
        ({"legs": [], "size": [1, math.nan]}, r"size\[1\] is nan(.|\n)*a number"),
        ({"legs": [], "prices": {"new": "much"}}, "prices.new is 'much'"),
        ({"legs": [], "prices": 3}, "prices is 3(.|\n)*a mapping"),
        ({"legs": [], "folds": 1}, "folds is 1(.|\n)*true or false"),
        ([], r"it is \[\]"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(values: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Chair, values)
    assert caught.match(message)


def test_records_of_programs_may_have_nan_and_more_names() -> None:
    text = '{"legs": [{"length": 1, "maker": "us"}], "prices": {"new": NaN}, "owner": "me"}'
    found = read_json(Chair, text, is_record=True)
    assert math.isnan(asdict(found)["prices"]["new"])
    with pytest.raises(ConfigError, match="no 'owner'"):
        read_json(Chair, text)
    with pytest.raises(ConfigError, match="invalid JSON"):
        read_json(Chair, "{")
