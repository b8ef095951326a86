"""``--source`` specifications to sources, and which of their items are wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import ConfigError, DataError
from raylift.core.storage import Storage
from raylift.data.sources.base import AnySource, SourceItem
from raylift.data.sources.coco import CocoSource
from raylift.data.sources.cub import CubSource
from raylift.data.sources.cutouts import CutoutsSource
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.future3d import Future3dSource
from raylift.data.sources.image_reading import IMAGE_SUFFIXES
from raylift.data.sources.masked import MaskedSource
from raylift.data.sources.mesh_reading import MESH_SUFFIXES
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.sources.procedural_vehicles import ProceduralVehiclesSource
from raylift.data.sources.sh3f import Sh3fSource
from raylift.data.sources.shape_views import ShapeViewsSource
from raylift.data.sources.shapenet import ShapeNetSource
from raylift.data.sources.stamps import StampsSource
from raylift.data.store.manifest import MANIFEST_NAME, DataKind


def _procedural(place: str, seed: int) -> AnySource:
    kind, separator, number = place.rpartition(":")
    if not separator and place == "vehicles":
        kind, number = place, ""
    if kind not in ("", "chairs", "vehicles") or (number and not number.isdigit()):
        raise ConfigError(
            f"--source procedural:{place}: {place!r} is not a count",
            "write procedural:40, or procedural:vehicles:40",
        )
    made = ProceduralVehiclesSource if kind == "vehicles" else ProceduralSource
    return made(int(number or 40), seed)


def _shape_views(place: str, seed: int) -> AnySource:
    uri, separator, number = place.rpartition("#")
    if not separator:
        return ShapeViewsSource(Storage.at(place).uri, seed)
    if not number.isdigit() or not int(number):
        raise ConfigError(f"--source shapes:{place}: {number!r} is not a count", "write shapes:data/seats#4")
    return ShapeViewsSource(Storage.at(uri).uri, seed, int(number))


_SHAPES: dict[str, Callable[[str, int], AnySource]] = {
    "folder": lambda place, seed: FolderSource(_path(place)),
    "sh3f": lambda place, seed: Sh3fSource(_path(place)),
    "shapenet": lambda place, seed: ShapeNetSource(_path(place)),
    "future3d": lambda place, seed: Future3dSource(_path(place)),
    "procedural": _procedural,
}
_IMAGES: dict[str, Callable[[str, int], AnySource]] = {
    "cutouts": lambda place, seed: CutoutsSource(_path(place)),
    "masked": lambda place, seed: MaskedSource.at(place),
    "coco": lambda place, seed: CocoSource.at(place),
    "cub": lambda place, seed: CubSource(_path(place)),
    "stamps": lambda place, seed: StampsSource(_path(place)),
    "shapes": _shape_views,
}
SOURCE_KINDS = tuple(_SHAPES)
IMAGE_SOURCE_KINDS = tuple(_IMAGES)


@dataclass(frozen=True)
class Selection:
    """Which items of a source are used. Words are looked for in the name, without regard to case.

    Attributes:
        words: keep items whose name holds any of these; empty keeps all.
        without: drop items whose name holds any of these.
        categories: keep these categories, such as seats; empty keeps all.
        max_objects: keep the first so many; 0 keeps all.
    """

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    max_objects: int = 0


def open_source(specification: str, seed: int = 0) -> AnySource:
    """The source of ``kind:path``, or of a bare path, whose layout is then recognised.

    Args:
        specification: such as ``sh3f:libraries``, ``folder:meshes``, ``procedural:40`` (so many chairs),
            ``procedural:vehicles:40``, ``cutouts:photos``, ``shapes:data#4`` (four views of each object) or ``meshes``.
        seed: of the procedural set and of single views.

    Raises:
        ConfigError: the kind is unknown or the count is not one.
        DataError: nothing is there.
    """
    kind, place = _split(specification)
    return {**_SHAPES, **_IMAGES}[kind](place, seed)


def source_data_kind(specification: str) -> DataKind:
    """Whether a source delivers shapes or images.

    Raises:
        DataError: a bare path where nothing is.
    """
    return "images" if _split(specification)[0] in _IMAGES else "shapes"


def _split(specification: str) -> tuple[str, str]:
    kind, separator, place = specification.partition(":")
    if specification == "procedural":
        return specification, ""
    if separator and (kind in _SHAPES or kind in _IMAGES):
        return kind, place
    path = _path(specification)
    if not path.exists():
        raise DataError(
            f"--source {specification}: there is no such file or folder",
            f"give a path, or kind:path with a kind of {', '.join((*SOURCE_KINDS, *IMAGE_SOURCE_KINDS))}",
        )
    return _recognise(path), str(path)


def _path(place: str) -> Path:
    return Path(place).expanduser().resolve()


def _recognise(path: Path) -> str:
    if path.suffix == ".json":
        return "coco"
    if path.suffix == ".sh3f" or (path.is_dir() and any(path.rglob("*.sh3f"))):
        return "sh3f"
    if (path / "model_info.json").is_file():
        return "future3d"
    if (path / MANIFEST_NAME).is_file() and "entries" in json.loads((path / MANIFEST_NAME).read_bytes() or "{}"):
        return "shapes"
    if (path / "images.txt").is_file() and (path / "image_class_labels.txt").is_file():
        return "cub"
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return "masked"
    if path.is_dir() and any(re.fullmatch(r"0\d{7}", child.name) for child in path.iterdir()):
        return "shapenet"
    suffixes = {child.suffix.lower() for child in path.rglob("*")} if path.is_dir() else set()
    # A mesh's textures are images too, so any mesh makes it a folder of meshes.
    return "cutouts" if suffixes & set(IMAGE_SUFFIXES) and not suffixes & set(MESH_SUFFIXES) else "folder"


def select_items(items: list[SourceItem], selection: Selection) -> list[SourceItem]:
    """The wanted items, in the source's order.

    Raises:
        DataError: two items share an id, or none is left.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"two objects are called {item.id}", "rename one of them, or prepare the sources apart")
        seen.add(item.id)
    kept = [item for item in items if _wanted(item, selection)]
    if selection.max_objects:
        kept = kept[: selection.max_objects]
    if not kept:
        known = sorted({item.category for item in items})[:12]
        raise DataError("no object is left after the selection", f"categories of this source: {', '.join(known)}")
    return kept


def _wanted(item: SourceItem, selection: Selection) -> bool:
    name = item.name.lower()
    if any(word.lower() in name for word in selection.without):
        return False
    if selection.words and not any(word.lower() in name for word in selection.words):
        return False
    return not selection.categories or item.category.lower() in {word.lower() for word in selection.categories}
