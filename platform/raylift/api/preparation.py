"""``raylift.prepare``: meshes or images to a data set, as ``raylift prepare`` does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raylift.api.datasets import PreparedDataset, open_dataset
from raylift.config.codec import from_dict
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.base import ImageSource
from raylift.data.sources.opening import Selection, open_source


@dataclass(frozen=True)
class Prepared:
    """A data set that was prepared.

    Attributes:
        uri: where it is.
        counts: numbers of objects and views, by split and by category.
        set_aside: (id, reason) of items that cannot be used.
        warnings: (id, note) of items with defects.
        num_made_shards, num_kept_shards: shards that this call made, and that existed.
    """

    uri: str
    counts: dict[str, Any]
    set_aside: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    num_made_shards: int
    num_kept_shards: int

    def open(self) -> PreparedDataset:
        """The data set."""
        return open_dataset(self.uri)


def prepare(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    categories: Sequence[str] = (),
    words: Sequence[str] = (),
    without_words: Sequence[str] = (),
    max_objects: int = 0,
    splits: dict[str, str] | None = None,
    local: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Prepared:
    """Prepare a data set; the same call again makes only what is missing.

        raylift.prepare("folder:my-meshes", "data/mine", num_views=12, image_px=128)

    Args:
        source: "kind:path", or a path whose layout is recognised; one or several. Its kind decides whether the data
            set has shapes or images.
        out: folder, local or s3://.
        categories: keep only these.
        words, without_words: keep objects whose name holds one of these words; drop those that hold one of the others.
        max_objects: keep the first so many; 0 keeps all.
        splits: split by id, instead of the hash.
        local: whether to make shards one after another in this process, without Ray.
        overwrite: whether to make every shard anew.
        progress: called with (objects done, objects in total).
        settings: values of ``data.shapes.config.ShapesConfig`` or ``data.images.config.ImagesConfig``.

    Raises:
        ConfigError: an unknown setting, with the nearest valid name.
        DataError: no usable object, or another data set is there.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    sources = [open_source(str(one), int(settings.get("seed", 0))) for one in given]
    of_images = bool(sources) and isinstance(sources[0], ImageSource)
    config = from_dict(ImagesConfig, settings) if of_images else from_dict(ShapesConfig, settings)
    selection = Selection(tuple(words), tuple(without_words), tuple(categories), max_objects)
    report = ingest(
        sources,
        str(out),
        config,
        selection,
        splits,
        parallel="none" if local else "ray",
        overwrite=overwrite,
        progress=progress,
    )
    return Prepared(
        str(out),
        report.manifest.counts,
        report.set_aside,
        report.warnings,
        report.num_made_shards,
        report.num_kept_shards,
    )
