"""The symmetry of each category about its vertical axis, from the recipe or from the training shapes."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import ConfigError, DataError, StorageError
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.images.target import NO_SHAPES
from raylift.evaluation.images.true_solids import TrueSolids
from raylift.evaluation.shapes.target import spread
from raylift.metrics.rotation_symmetry import SYMMETRIES, Symmetry, symmetry_of
from raylift.metrics.shape_pair import SOLID_RESOLUTION

AUTO = "auto"
NUM_SHAPES = 12
NUM_IMAGES = 48
"""Maximum numbers, per category, of training shapes that decide on its symmetry, and of images that name them."""


class Symmetries:
    """The symmetries of a model's categories.

    ``evaluation.symmetries`` lists them as ``table=half_turn``; a category that is not listed has none, unless the list
    has ``auto``: then its training shapes decide (``metrics.rotation_symmetry.symmetry_of``), or, if those are unknown,
    it has none. Shapes decide, not colours: a painted front does not count.

    Attributes:
        by_index: symmetry by index of the category.
        note: for the reader of a report.

    Raises:
        ConfigError: an unknown category or symmetry.
        DataError: the training shapes should be known, but are missing.
    """

    def __init__(
        self, dataset: ShardedDataset, categories: Sequence[str], config: EvaluationConfig, data: DataConfig
    ) -> None:
        listed = listed_symmetries(config.symmetries, categories)
        found: dict[str, Symmetry] = {}
        if AUTO in config.symmetries and config.true_shapes != NO_SHAPES:
            entries = dataset.entries("train", data.categories)
            solids = TrueSolids(dataset, config.true_shapes)
            for name in categories:
                if name not in listed:
                    found[name] = _of_shapes([entry for entry in entries if entry.category == name], solids)
        known = {**found, **listed}
        self.by_index: dict[int, Symmetry] = {
            index: known[name] for index, name in enumerate(categories) if name in known
        }
        shown = [f"{name} {symmetry.replace('_', ' ')}" for name, symmetry in known.items() if symmetry != "none"]
        self.note = (
            f"viewpoint: symmetric errors are up to the symmetry of a category ({', '.join(shown) or 'none has one'})"
        )


def listed_symmetries(texts: Sequence[str], categories: Sequence[str]) -> dict[str, Symmetry]:
    """The symmetries that a recipe lists, by category.

    Raises:
        ConfigError: an unknown category or symmetry.
    """
    found: dict[str, Symmetry] = {}
    for text in texts:
        name, _, kind = text.partition("=")
        symmetry = next((one for one in SYMMETRIES if one == kind), None)
        if text == AUTO:
            continue
        if symmetry is None or name not in categories:
            raise ConfigError(
                f"evaluation.symmetries has {text!r}",
                f"use CATEGORY=SYMMETRY with a category of {', '.join(categories)} and one of {', '.join(SYMMETRIES)}",
            )
        found[name] = symmetry
    return found


def _of_shapes(entries: Sequence[ObjectEntry], solids: TrueSolids) -> Symmetry:
    """The symmetry of a category from some of its images; images of one object count once."""
    side = SOLID_RESOLUTION
    some = [entries[index] for index in spread(NUM_IMAGES, len(entries))]
    try:
        shapes = {known.object_id: entry.id for entry in some if (known := solids.shape(entry.id)) is not None}
    except (DataError, StorageError) as error:
        raise DataError(
            f"the symmetry of categories is that of their training shapes: {error.problem}",
            "set evaluation.true_shapes to where the shapes are now, or list evaluation.symmetries without auto",
        ) from None
    found = [solids.of(shapes[name]) for name in list(shapes)[:NUM_SHAPES]]
    return symmetry_of([solid.reshape(side, side, side) for solid in found if solid is not None])
