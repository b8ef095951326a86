"""Occluded PASCAL3D+ (Wang et al. 2020): PASCAL3D+'s validation images with cut-outs from COCO pasted over them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raylift.core.errors import ConfigError, DataError
from raylift.data.sources.array_archives import read_arrays
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.image_reading import read_picture
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.pascal3d_records import annotated_image, find_release, names_of
from raylift.data.sources.posed_images import PosedItem, load_posed
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

_FOLDER = re.compile(r"(?P<category>.+?)(?P<level>FGL\d_BGL\d)")
_MASK = "occluder_mask"


@source(
    "occluded_pascal3d", delivers="images", help="Occluded PASCAL3D+: FOLDER,PASCAL3D+ or FOLDER,PASCAL3D+#FGL1_BGL1"
)
@dataclass(frozen=True)
class OccludedPascal3dSource:
    """``images/``, ``annotations/`` and ``lists/`` with ``{category}FGL{1-3}_BGL{1-3}``; poses are PASCAL3D+'s.

    The visible part is the CAD model's outline without the published occluder mask. All images are in the test split:
    they show the objects of PASCAL3D+'s validation list. Level 0 is PASCAL3D+ itself.

    Attributes:
        path: the occluded images.
        release: PASCAL3D+_release1.1.
        level: the only level to use, such as FGL1_BGL1; empty uses all.
    """

    path: Path
    release: Path
    level: str = ""
    kind: str = "occluded_pascal3d"

    @staticmethod
    def recognises(path: Path) -> bool:
        """The published folders."""
        return (path / "images").is_dir() and any((path / "lists").glob("*FGL*_BGL*.txt"))

    @staticmethod
    def open(place: str, seed: int) -> OccludedPascal3dSource:
        """The source of ``FOLDER,PASCAL3D+`` with an optional ``#LEVEL``; without PASCAL3D+ it is searched nearby."""
        rest, _, level = place.partition("#")
        if level and not re.fullmatch(r"FGL\d_BGL\d", level):
            raise ConfigError(f"--source occluded_pascal3d:{place}: unknown level {level!r}", "use #FGL1_BGL1")
        first, separator, second = rest.partition(",")
        path = Path(first).expanduser().resolve()
        places = [Path(second).expanduser().resolve()] if separator else [path, path.parent]
        return OccludedPascal3dSource(path, find_release(places), level)

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        items: list[SourceItem] = []
        cads = CadFolder.within(self.release)
        for file in sorted((self.path / "lists").glob(f"*{self.level or 'FGL*_BGL*'}.txt")):
            found = _FOLDER.fullmatch(file.stem)
            if found is None:
                continue
            category, level = found["category"], found["level"]
            for name in names_of(file):
                image_id = f"{self.kind}/{level}/{category}/{name}"
                image = annotated_image(self.release, f"{category}_imagenet", name, image_id, category, "test")
                masks = f"annotations/{file.stem}/{name}.npz"
                reference = f"images/{file.stem}/{name}.JPEG"
                stamps = (image.stamp, file_stamp(self.path / reference), file_stamp(self.path / masks))
                # The levels of one image stay in one split.
                items += [
                    replace(item, group=f"{category}/{name}")
                    for item in replace(image, reference=reference, stamp=" ".join(stamps), extra=masks).items(cads)
                ]
        if not items:
            raise DataError(
                f"found no list {{category}}{self.level or 'FGL1_BGL1'}.txt in {self.path / 'lists'}",
                "point --source occluded_pascal3d:PATH,PASCAL3D+ at the folder with images/, annotations/ and lists/",
            )
        return items

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        posed = PosedItem.of(item)
        masks = self.path / posed.extra
        picture = read_picture(self.path, posed.reference, max_bytes, max_pixels, upright=False)
        found = read_arrays(masks, (_MASK,), max_bytes).get(_MASK)
        if found is None or found.ndim != 2 or found.dtype.kind not in "biuf":
            raise DataError(f"{masks.name} has no {_MASK} [H, W]", "download Occluded PASCAL3D+ again")
        return load_posed(picture, posed, CadFolder.within(self.release), max_bytes, np.asarray(found > 0.5))
