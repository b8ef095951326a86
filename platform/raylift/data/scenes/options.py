"""What ``--source scenes:PLACE`` says: ``DATA#IMAGES,name=value,...``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from raylift.core.errors import ConfigError
from raylift.data.scenes.levels import LEVELS

EXAMPLE = "scenes:data/furniture#10,per_level=3,train=L0+L1+L2,occluders=stamps:fetch"


@dataclass(frozen=True)
class SceneOptions:
    """How many scenes of each object, and what is in them.

    Attributes:
        images: images per training object.
        per_level: images per level of each held-out object. Levels share poses, light and backgrounds.
        train: levels that training images are drawn from, equally likely.
        test: levels of held-out images.
        px: side of the images, pixels; 0 uses the size of the data set's views.
        occluders: source of cut-out images to paste, such as "stamps:fetch" or a folder; empty pastes views of other
            objects of the same split and of another category.
        backgrounds: folder of photographs; empty draws noise, checkerboards, waves, and details of occluders.
        seed: seed of all draws; -1 uses that of the data set.
    """

    images: int = 4
    per_level: int = 1
    train: tuple[str, ...] = ("L0", "L1", "L2")
    test: tuple[str, ...] = tuple(LEVELS)
    px: int = 0
    occluders: str = ""
    backgrounds: str = ""
    seed: int = -1

    def __post_init__(self) -> None:
        if self.images < 1 or self.per_level < 1 or self.px < 0:
            raise ConfigError(
                f"scenes: images {self.images}, per_level {self.per_level}, px {self.px}", f"use {EXAMPLE}"
            )
        unknown = sorted({*self.train, *self.test} - set(LEVELS))
        if unknown or not self.train or not self.test:
            raise ConfigError(f"scenes: levels {unknown or 'missing'}", f"use some of {'+'.join(LEVELS)}")


def parse_place(place: str) -> tuple[str, SceneOptions]:
    """The data set of shapes and the options of a specification.

    Raises:
        ConfigError: an unknown name, or an invalid value.
    """
    first, *rest = place.split(",")
    shapes, separator, number = first.rpartition("#")
    given: dict[str, str] = {}
    if separator:
        given["images"] = number
    else:
        shapes = first
    for text in rest:
        name, separator, value = text.partition("=")
        if not separator or name not in _names():
            raise ConfigError(
                f"scenes: {text!r} is not name=value with a name of {', '.join(_names())}", f"use {EXAMPLE}"
            )
        given[name] = value
    return shapes, replace(SceneOptions(), **{name: _value(name, value) for name, value in given.items()})  # type: ignore[arg-type]


def _names() -> Mapping[str, object]:
    return {field.name: field.default for field in fields(SceneOptions)}


def _value(name: str, text: str) -> int | str | tuple[str, ...]:
    default = _names()[name]
    if isinstance(default, tuple):
        return tuple(part for part in text.split("+") if part)
    if isinstance(default, str):
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"scenes: {name} is {text!r}, not a whole number", f"use {EXAMPLE}") from None
