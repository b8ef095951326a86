"""Scenes made of a prepared data set of shapes: images with known pose, outline and occlusion."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np

from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator, stable_hash
from raylift.core.storage import Storage
from raylift.data.scenes.backdrops import drawn_backdrop, photographed_backdrop
from raylift.data.scenes.occlusion import occlude, visible_part
from raylift.data.scenes.options import SceneOptions, parse_place
from raylift.data.scenes.pictures import Pictures, cutouts, photographs, views_of_others
from raylift.data.scenes.poses import draw_camera, nearest_view
from raylift.data.scenes.rendering import draw_light, render_object
from raylift.data.shapes.record import load_cameras, load_object, load_view
from raylift.data.sources.base import ImageItem, ImageSource, LoadedImage, SourceItem
from raylift.data.sources.image_reading import caption_of
from raylift.data.sources.opening import open_source
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry

MIN_VIEWS = 4
"""Fewest views of an object: what none of them sees gets the colour of the nearest point that is seen."""
VERSION = 1
"""Incremented when the same options make other images."""


@source(
    "scenes",
    delivers="images",
    help="objects of a data set of shapes in drawn poses, over backgrounds, partly hidden; scenes:FOLDER#10: ten "
    "images per training object; more options in jobs/README.md",
)
@dataclass(frozen=True)
class ScenesSource:
    """The mesh of each object, rendered with a drawn camera and light over a background, behind pasted cut-outs.

    An image is a pure function of (seed, id). Splits, groups, categories and captions are those of the shapes. Training
    scenes are ``ID@0-L1``, ``ID@1-L0`` and so on, with levels drawn from ``options.train``. A held-out object has
    ``options.per_level`` images of each level in ``options.test``; ``ID@0-L1`` and ``ID@0-L2`` are one view of it, more
    or less hidden. Pictures to paste are divided by split.

    Attributes:
        uri: data set of shapes, absolute.
        options: numbers of images, levels, pictures.
        seed: seed of all draws.
        occluders: source of cut-outs; None pastes views of other objects.
        backgrounds: folder of photographs; None draws backgrounds.
    """

    uri: str
    options: SceneOptions = field(default_factory=SceneOptions)
    seed: int = 0
    occluders: ImageSource | None = None
    backgrounds: Path | None = None
    kind: str = "scenes"

    @staticmethod
    def open(place: str, seed: int) -> ScenesSource:
        """The source of ``FOLDER#IMAGES,name=value,...``."""
        uri, options = parse_place(place)
        cut = open_source(options.occluders) if options.occluders else None
        if cut is not None and not isinstance(cut, ImageSource):
            raise ConfigError(f"scenes: occluders={options.occluders} delivers no images", "use a folder of cut-outs")
        return ScenesSource(
            Storage.at(uri).uri,
            options,
            seed if options.seed < 0 else options.seed,
            cut,
            Path(options.backgrounds).expanduser().resolve() if options.backgrounds else None,
        )

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        shapes = _opened(self.uri)
        if shapes.manifest.kind != "shapes":
            raise DataError(f"{self.uri} is not a data set of shapes", "prepare meshes first: raylift prepare shapes")
        fewest = min((entry.num_views for entry in shapes.entries()), default=MIN_VIEWS)
        if fewest < MIN_VIEWS:
            raise DataError(
                f"{self.uri} has objects with {fewest} views, and meshes have the colours that views have seen",
                f"prepare it with --num-views 8, or {MIN_VIEWS} at least",
            )
        stamp, licences = self._stamp(shapes)
        items: list[SourceItem] = []
        for entry in shapes.entries():
            record = load_object(shapes, entry.id, ("name", "licence", "creator"))
            for number, level in self._plan(entry):
                items.append(
                    ImageItem(
                        id=f"{entry.id}@{number}-{level}",
                        name=record.text("name"),
                        category=entry.category,
                        reference=f"{entry.id}@{number}",
                        licence="; ".join(filter(None, (record.text("licence"), *licences))),
                        creator=record.text("creator"),
                        split=entry.split,
                        stamp=stamp,
                        caption=entry.caption,
                        details=level,
                        group=entry.group or entry.id,
                    )
                )
        return items

    def _plan(self, entry: ObjectEntry) -> list[tuple[int, str]]:
        """Number and level of each of an object's images."""
        options = self.options
        if entry.split != "train":
            return [(number, level) for number in range(options.per_level) for level in options.test]
        drawn = numpy_generator(self.seed, entry.id, "levels").integers(len(options.train), size=options.images)
        return [(number, options.train[int(level)]) for number, level in enumerate(drawn)]

    def _stamp(self, shapes: ShardedDataset) -> tuple[str, tuple[str, ...]]:
        """What the images depend on, besides their ids, and the licences of the occluders."""
        pasted = [] if self.occluders is None else self.occluders.items()
        settings = {**asdict(self.options), "occluders": "", "backgrounds": ""}
        digest = stable_hash(*(f"{item.id} {item.stamp}" for item in pasted), str(self.backgrounds))
        stamp = f"{VERSION} {shapes.manifest.fingerprint} {settings} {self.seed} {digest}"
        return stamp, tuple(sorted({f"{item.licence} (occluders)" for item in pasted if item.licence}))

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        shapes = _opened(self.uri)
        scene, level = item.reference, item.details
        entry = shapes.entry(scene.rpartition("@")[0])
        px = self.options.px or load_view(shapes, entry.id, 0).rgba.shape[0]
        camera = draw_camera(numpy_generator(self.seed, scene, "camera"))
        mesh = load_object(shapes, entry.id, ("mesh_vertices", "mesh_faces", "mesh_colors")).mesh
        colors, amodal = render_object(mesh, camera, px, draw_light(numpy_generator(self.seed, scene, "light")))
        rng = numpy_generator(self.seed, scene, "occluders", level)
        rejected: list[str] = []
        pasted = occlude(amodal, level, lambda: self._cutouts(entry).draw(rng, rejected), rng)
        around = self._backdrop(entry, scene, px, rejected) * (1 - amodal[..., None] / np.float32(255))
        image = (colors + around) * (1 - pasted.coverage[..., None]) + pasted.colors
        rgb = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        return LoadedImage(
            np.dstack([rgb, visible_part(amodal, pasted)]),
            caption_of(item.caption, item.name),
            has_background=True,
            camera=camera,
            truth=f"{entry.id}#{nearest_view(camera, load_cameras(shapes, entry.id))}",
            truth_data=self.uri,
            notes=tuple(sorted(set(rejected))),
            amodal=amodal,
            window=(0.0, 0.0, float(px), float(px)),
        )

    def _backdrop(self, entry: ObjectEntry, scene: str, px: int, rejected: list[str]) -> np.ndarray:
        if self.backgrounds is not None:
            rng = numpy_generator(self.seed, scene, "background")
            return photographed_backdrop(px, _photographs(self.backgrounds, entry.split), rng, rejected)
        details = None if self.occluders is None else self._cutouts(entry)
        return drawn_backdrop(px, scene, self.seed, details, rejected)

    def _cutouts(self, entry: ObjectEntry) -> Pictures:
        return _cutouts(self.uri, cast(Hashable, self.occluders), entry.split, entry.category)


@lru_cache(maxsize=4)
def _opened(uri: str) -> ShardedDataset:
    return ShardedDataset.open(uri, cache_bytes=256 << 20)


@lru_cache(maxsize=64)
def _cutouts(uri: str, source: Hashable, split: str, category: str) -> Pictures:
    shapes = _opened(uri)
    if source is None:
        return views_of_others(shapes, split, category)
    return _of_source(source, split, tuple(shapes.manifest.counts["by_category"]))


@lru_cache(maxsize=16)
def _of_source(source: Hashable, split: str, categories: tuple[str, ...]) -> Pictures:
    assert isinstance(source, ImageSource)
    return cutouts(source, split, categories)


@lru_cache(maxsize=16)
def _photographs(folder: Path, split: str) -> Pictures:
    return photographs(folder, split)
