"""Sweet Home 3D furniture libraries (.sh3f): zips of OBJ models with a catalogue of properties."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.archives import open_zip, read_zip_member
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.data.sources.furniture import fetch_furniture
from raylift.data.sources.mesh_reading import read_mesh_in_zip
from raylift.data.sources.registry import source

_CATALOGUE = "PluginFurnitureCatalog.properties"
CATEGORY_WORDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # Wheel, deck, beach, relax and high chairs are machines or recliners: they keep the catalogue's category.
    ("seats", ("chair", "stool"), ("wheelchair", "deck chair", "beach chair", "relax chair", "high chair")),
    ("sofas", ("sofa", "couch"), ()),
    ("tables", ("table", "desk"), ("table lamp", "desk lamp", "turntable", "table clock")),
    ("lamps", ("lamp",), ()),
    ("cabinets", ("cabinet", "wardrobe", "cupboard", "dresser", "sideboard", "chest"), ()),
    ("beds", ("bed",), ("bedside",)),
)
"""(category, words of which the name contains one, words of which it contains none); the first match wins."""

_NUMBERED = re.compile(r"^(\w+)#(\d+)$")


@source("sh3f", delivers="shapes", help="Sweet Home 3D; sh3f:fetch downloads Debian's furniture (120 MB)")
@dataclass(frozen=True)
class Sh3fSource:
    """One .sh3f file, or a folder of them.

    Models are Y up and face +Z. ``modelRotation`` is applied, then the model is scaled along each axis to the
    catalogue's width, height and depth, because the files' units differ.
    """

    path: Path
    kind: str = "sh3f"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A library, or a folder with one."""
        return path.suffix == ".sh3f" or (path.is_dir() and any(path.rglob("*.sh3f")))

    @staticmethod
    def fetch(cache: Path) -> Path:
        """Debian's furniture libraries."""
        return fetch_furniture(cache)

    def items(self) -> list[SourceItem]:
        """One item per numbered entry of each library's catalogue."""
        found: list[SourceItem] = []
        for library in self._libraries():
            licence = _plain_licence(read_catalogue(library)[0].get("license", ""))
            for number, entry in sorted(read_catalogue(library)[1].items()):
                if "model" not in entry or "id" not in entry:
                    continue
                found.append(
                    SourceItem(
                        id=f"sh3f/{_slug(entry['id'])}",
                        name=entry.get("name", entry["id"]),
                        category=category_of(entry.get("name", ""), entry.get("category", "unknown")),
                        reference=f"{library.name}#{number}",
                        licence=licence,
                        creator=entry.get("creator", ""),
                        tags=tuple(tag.strip() for tag in entry.get("tags", "").split(",") if tag.strip()),
                        stamp=str(library.stat().st_size),
                    )
                )
        return found

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        library_name, _, number = item.reference.rpartition("#")
        library = next((path for path in self._libraries() if path.name == library_name), None)
        entry = None if library is None else read_catalogue(library)[1].get(int(number))
        if library is None or entry is None:
            raise DataError(
                f"{item.id}: {item.reference} is not in {self.path}",
                "point --source at the libraries it was listed from",
            )
        member = entry["model"].lstrip("/")
        loaded = read_mesh_in_zip(library, member, max_bytes)
        vertices = loaded.scene.vertices.astype(np.float64)
        if "modelRotation" in entry:
            vertices = vertices @ _rotation(entry["modelRotation"], item.id).T
        size = np.array([float(entry[axis]) for axis in ("width", "height", "depth")])
        extent = vertices.max(axis=0) - vertices.min(axis=0)
        if np.isfinite(extent).all() and (size > 0).all():
            vertices = vertices * np.where(extent > 1e-9, size / np.maximum(extent, 1e-9), 1.0)
        return LoadedScene(replace(loaded.scene, vertices=vertices.astype(np.float32)), loaded.notes)

    def _libraries(self) -> list[Path]:
        paths = sorted(self.path.rglob("*.sh3f")) if self.path.is_dir() else [self.path]
        if not paths or not paths[0].is_file():
            raise DataError(
                f"found no .sh3f library at {self.path}",
                "use those of Debian's package sweethome3d-furniture, under usr/share/sweethome3d/furniture",
            )
        return paths


def category_of(name: str, catalogue_category: str) -> str:
    """The category of a model, from the words of its name; else the catalogue's category, mostly a room.

    The catalogue's lights are lamps with other names: lanterns, spotlights, candles.
    """
    lowered = name.lower()
    for category, words, without in CATEGORY_WORDS:
        if any(word in lowered for word in words) and not any(word in lowered for word in without):
            return category
    room = catalogue_category.lower()
    return "lamps" if room == "lights" else room


_AGAIN = "download the file again"

_parsed: dict[tuple[str, int], tuple[dict[str, str], dict[int, dict[str, str]]]] = {}


def read_catalogue(library: Path) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """The library's own properties, and those of its entries by number. Read once per process and file version.

    Raises:
        DataError: not a zip file, or no catalogue inside.
    """
    key = (str(library), library.stat().st_mtime_ns)
    if key not in _parsed:
        try:
            with open_zip(library, library.name, _AGAIN) as archive:
                if _CATALOGUE not in archive.namelist():
                    raise DataError(f"it has no {_CATALOGUE}", _AGAIN)
                member = archive.getinfo(_CATALOGUE)
                text = read_zip_member(archive, member, limits.CATALOGUE_BYTES, _CATALOGUE, _AGAIN)
        except DataError as error:
            raise DataError(f"{library} is not a furniture library: {error.problem}", error.remedy) from error
        own: dict[str, str] = {}
        entries: dict[int, dict[str, str]] = {}
        for name, value in _properties(text.decode("latin-1")).items():
            numbered = _NUMBERED.match(name)
            if numbered:
                entries.setdefault(int(numbered.group(2)), {})[numbered.group(1)] = value
            else:
                own[name] = value
        _parsed[key] = own, entries
    return _parsed[key]


def _properties(text: str) -> dict[str, str]:
    """Parse Java's properties format: comments, continued lines, \\uXXXX escapes."""
    values: dict[str, str] = {}
    pending = ""
    for raw in text.splitlines():
        line = pending + raw.lstrip()
        pending = ""
        if line.startswith(("#", "!")) or not line:
            continue
        if line.endswith("\\") and not line.endswith("\\\\"):
            pending = line[:-1]
            continue
        name, separator, value = line.partition("=")
        if separator:
            decoded = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match.group(1), 16)), value.strip())
            values[name.strip()] = decoded
    return values


def _rotation(text: str, item_id: str) -> np.ndarray:
    try:
        rotation = np.array([float(word) for word in text.split()]).reshape(3, 3)
    except ValueError:
        raise DataError(f"{item_id}: modelRotation {text!r} is not nine numbers", "fix the catalogue") from None
    return rotation


def _plain_licence(text: str) -> str:
    lowered = text.lower()
    if "public domain" in lowered or "cc0" in lowered:
        return "CC0-1.0"
    if "attribution 3.0 united states" in lowered:
        return "CC-BY-3.0-US"
    if "attribution 3.0" in lowered:
        return "CC-BY-3.0"
    return text.strip()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9#_.-]+", "-", text).strip("-").replace("#", ".")
