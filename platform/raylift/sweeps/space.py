"""Search spaces over dotted recipe paths: the range of each value, and when it is searched.

Optuna gets each dimension as one of its distributions (``sweeps.proposals``). A dimension is not itself such a
distribution: those cannot draw by a trial's number or clip, and they know no conditions, corners or grids. A worker
that only trains does not import Optuna either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from raylift.config import codec
from raylift.core.errors import ConfigError
from raylift.core.generators import numpy_generator

Values = dict[str, Any]
"""Recipe values by dotted path."""
Condition = dict[str, tuple[Any, ...]]
"""Paths, and the values they must have for a dimension to be searched; otherwise the recipe's value stays."""


@dataclass(frozen=True)
class Range:
    """Numbers between two ends.

    Attributes:
        kind: any or whole numbers, distributed uniformly on a linear or a logarithmic scale.
        low, high: ends of the range, inclusive.
        when: see ``Condition``.
    """

    kind: Literal["uniform", "log_uniform", "integer", "log_integer"]
    low: float
    high: float
    when: Condition = field(default_factory=dict)

    @property
    def is_log(self) -> bool:
        return self.kind in ("log_uniform", "log_integer")

    @property
    def is_whole(self) -> bool:
        return self.kind in ("integer", "log_integer")

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"low {self.low} is not below high {self.high}", "use low < high")
        if self.is_log and self.low <= 0:
            raise ConfigError(f"low is {self.low} on a logarithmic scale", "use a low above 0, or kind uniform")
        if self.is_whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ConfigError(f"ends {self.low} and {self.high}", "use whole numbers")

    def at(self, share: float) -> float | int:
        """The value at a fraction in [0, 1] of the way from low to high, on the dimension's scale (linear or log)."""
        if self.is_log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else value

    def draw(self, generator: np.random.Generator) -> float | int:
        """A value drawn from the scale's uniform distribution."""
        if self.is_whole and not self.is_log:
            return int(generator.integers(int(self.low), int(self.high) + 1))
        return self.at(float(generator.random()))

    def corners(self) -> tuple[float | int, ...]:
        """Both ends and an odd value between, which shows where whole numbers are required."""
        return self.at(0.0), self.at(0.381966), self.at(1.0)

    def contains(self, value: Any) -> bool:
        """Whether a value could be drawn."""
        return isinstance(value, int | float) and self.low <= value <= self.high

    def clip(self, value: float) -> float | int:
        """The nearest value inside."""
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_whole else value


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        kind: "grid" tries every value in turn, "choice" draws them.
        values: values of any type that the recipe accepts there.
        when: see ``Condition``.
    """

    kind: Literal["choice", "grid"]
    values: tuple[Any, ...]
    when: Condition = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("no values", "list at least one")

    def draw(self, generator: np.random.Generator) -> Any:
        """A value, uniformly distributed."""
        return self.values[int(generator.integers(len(self.values)))]

    def contains(self, value: Any) -> bool:
        """Whether a value could be drawn."""
        return value in self.values

    def corners(self) -> tuple[Any, ...]:
        """All values."""
        return self.values


Dimension = Range | Choice
KINDS: dict[str, type[Range] | type[Choice]] = {
    "uniform": Range,
    "log_uniform": Range,
    "integer": Range,
    "log_integer": Range,
    "choice": Choice,
    "grid": Choice,
}
MOST_CORNERS = 256
"""Up to this many combinations of corner values are all checked; of more, this many are drawn."""


@dataclass(frozen=True)
class Space:
    """Dimensions by path. A condition may refer to a path of the recipe, or to an earlier dimension.

    Attributes:
        dimensions: in the order in which they are chosen.
    """

    dimensions: Mapping[str, Dimension]

    @staticmethod
    def from_dict(values: Any) -> Space:
        """Read a space from JSON values.

        Raises:
            ConfigError: an unknown kind or field, or a condition on a later dimension.
        """
        if not isinstance(values, Mapping) or not values:
            raise ConfigError("the sweep's space is empty", "add paths, each with a kind: " + ", ".join(KINDS))
        dimensions: dict[str, Dimension] = {}
        for path, part in values.items():
            where = f"space.{path}"
            if not isinstance(part, Mapping) or part.get("kind") not in KINDS:
                found = part.get("kind") if isinstance(part, Mapping) else part
                raise ConfigError(f"{where} has kind {found!r}", f"use one of {', '.join(KINDS)}")
            dimensions[path] = codec.from_dict(KINDS[part["kind"]], frozen(part), where)
        paths = list(dimensions)
        for index, path in enumerate(paths):
            for other in dimensions[path].when:
                if other in paths[index:]:
                    raise ConfigError(f"space.{path} depends on {other}, which comes after it", "change their order")
        return Space(dimensions)

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads."""
        return {path: codec.to_dict(dimension) for path, dimension in self.dimensions.items()}

    def fill(self, choose: Callable[[str, Dimension], Any], base: Mapping[str, Any]) -> Values:
        """Values of the dimensions whose conditions hold, chosen one after the other.

        Args:
            choose: returns the value of one dimension.
            base: the recipe's own values by path, for conditions on values that are not searched.
        """
        chosen: Values = {}
        for path, dimension in self.dimensions.items():
            known = {**base, **chosen}
            if all(known.get(other) in wanted for other, wanted in dimension.when.items()):
                chosen[path] = choose(path, dimension)
        return chosen

    def draw(self, base: Mapping[str, Any], seed: int, number: int) -> Values:
        """Draw ``number`` of a random search: a pure function of the seed and the number.

        Dimensions of kind grid are enumerated: draws 0, 1, ... take their combinations in turn.
        """
        turning = {path: part.values for path, part in self.dimensions.items() if part.kind == "grid"}
        cells = list(itertools.product(*turning.values()))
        cell = dict(zip(turning, cells[number % len(cells)], strict=True))

        def choose(path: str, dimension: Dimension) -> Any:
            return cell[path] if path in cell else dimension.draw(numpy_generator(seed, number, path))

        return self.fill(choose, base)

    def own(self, base: Mapping[str, Any]) -> Values | None:
        """The recipe's own values as a trial of this space; None if one of them is outside it."""
        values = self.fill(lambda path, dimension: base.get(path), base)
        return values if all(self.dimensions[path].contains(value) for path, value in values.items()) else None

    def grid(self, base: Mapping[str, Any]) -> list[Values]:
        """All combinations, each once, the last dimension changing fastest.

        Raises:
            ConfigError: a range, which has infinitely many values.
        """
        endless = [path for path, part in self.dimensions.items() if isinstance(part, Range)]
        if endless:
            raise ConfigError(f"a grid over {', '.join(endless)}, of kind range", "use kind grid or choice there")
        return _unique(self._combinations(base))

    def corners(self, base: Mapping[str, Any]) -> list[Values]:
        """Combinations of extreme values: if recipes accept them, few trials can be refused later."""
        number = math.prod(len(part.corners()) for part in self.dimensions.values())
        if number <= MOST_CORNERS:
            return _unique(self._combinations(base))
        return _unique(self._corner_draws(base))

    def _corner_draws(self, base: Mapping[str, Any]) -> Iterator[Values]:
        for index in range(MOST_CORNERS):
            generator = numpy_generator(0, index, "corners")

            def choose(path: str, dimension: Dimension, index: int = index, draws: Any = generator) -> Any:
                # The first rounds use every value of every dimension, the others mix them.
                corners = dimension.corners()
                return corners[index if index < len(corners) else int(draws.integers(len(corners)))]

            yield self.fill(choose, base)

    def _combinations(self, base: Mapping[str, Any]) -> Iterator[Values]:
        for combination in itertools.product(*(part.corners() for part in self.dimensions.values())):
            given = dict(zip(self.dimensions, combination, strict=True))

            def choose(path: str, dimension: Dimension, given: Values = given) -> Any:
                return given[path]

            yield self.fill(choose, base)


def frozen(value: Any) -> Any:
    """Lists as tuples, as in recipes, so that a value is equal after a round trip through JSON."""
    if isinstance(value, Mapping):
        return {name: frozen(one) for name, one in value.items()}
    return tuple(frozen(one) for one in value) if isinstance(value, list | tuple) else value


def _unique(all_values: Iterator[Values]) -> list[Values]:
    found: list[Values] = []
    for values in all_values:
        if values not in found:
            found.append(values)
    return found
