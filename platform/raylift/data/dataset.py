"""A prepared data set: random access to objects and views, with a cache of bounded size."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.storage import Storage
from raylift.core.types import Camera, Mesh
from raylift.data.manifest import Manifest, ObjectEntry
from raylift.data.pictures import Picture
from raylift.data.schemas import DEPTH_STEP, OBJECT_TEXTS, ArrayColumn, object_columns

OBJECTS_NAME = "objects-{:05d}.parquet"
VIEWS_NAME = "views-{:05d}.parquet"
_REMEDY_SHARD = "run the same prepare command again: it keeps the good shards and makes this one anew"


@dataclass(frozen=True)
class PointSamples:
    """Supervised points of one noise level, as stored; ``columns`` turn selections of them into values."""

    sigma: float
    stored: tuple[np.ndarray, np.ndarray, np.ndarray]
    columns: tuple[ArrayColumn, ArrayColumn, ArrayColumn]

    def __len__(self) -> int:
        return len(self.stored[0])

    def take(self, picked: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points [N, 3], truncated signed distances [N] and colours [N, 3] of a selection, float32."""
        points, sdf, colors = (
            column.values(stored[picked]) for column, stored in zip(self.columns, self.stored, strict=True)
        )
        return points, sdf, colors

    @property
    def points(self) -> np.ndarray:
        return self.columns[0].values(self.stored[0])

    @property
    def sdf(self) -> np.ndarray:
        return self.columns[1].values(self.stored[1])

    @property
    def color(self) -> np.ndarray:
        return self.columns[2].values(self.stored[2])


class ObjectRecord:
    """One object. Arrays are float32 and unpacked when asked for; shapes and units are in ``data.schemas``."""

    def __init__(self, entry: ObjectEntry, cells: dict[str, str | bytes], sigmas: tuple[float, ...]) -> None:
        self.entry = entry
        self.id = entry.id
        self.category = entry.category
        self.caption = entry.caption
        self.sigmas = sigmas
        self._cells = cells
        self._columns = object_columns(len(sigmas))

    def text(self, name: str) -> str:
        """A text column: name, style, material, licence, creator, source, notes."""
        return str(self._cell(name))

    def picked(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Some rows of a column's values, without unpacking the others."""
        return self._columns[name].values(self.stored(name)[rows])

    def _cell(self, name: str) -> str | bytes:
        try:
            return self._cells[name]
        except KeyError:
            raise DataError(f"{self.id} was loaded without column {name!r}", "ask load_object for it") from None

    def stored(self, name: str) -> np.ndarray:
        """A column's stored integers, without a copy."""
        data = self._cell(name)
        assert isinstance(data, bytes)
        return self._columns[name].stored(data)

    def array(self, name: str) -> np.ndarray:
        """A column's values."""
        return self._columns[name].values(self.stored(name))

    @property
    def num_bytes(self) -> int:
        return sum(len(cell) for cell in self._cells.values())

    @property
    def cloud(self) -> tuple[np.ndarray, np.ndarray]:
        """Points [N, 3] of all views and their colours [N, 3]."""
        return self.array("cloud_points"), self.array("cloud_colors")

    @cached_property
    def samples(self) -> tuple[PointSamples, ...]:
        """Supervised points, one entry a noise level."""
        return tuple(
            PointSamples(
                sigma,
                (
                    self.stored(f"sample_points_{index}"),
                    self.stored(f"sample_sdf_{index}"),
                    self.stored(f"sample_colors_{index}"),
                ),
                (
                    self._columns[f"sample_points_{index}"],
                    self._columns[f"sample_sdf_{index}"],
                    self._columns[f"sample_colors_{index}"],
                ),
            )
            for index, sigma in enumerate(self.sigmas)
        )

    @property
    def occupancy32(self) -> np.ndarray:
        """[32, 32, 32], 1 inside."""
        return self.array("occupancy32")

    @property
    def sdf32(self) -> np.ndarray:
        """[32, 32, 32], signed distance in world units, not truncated."""
        return self.array("sdf32")

    @property
    def mesh(self) -> Mesh:
        """The true surface: watertight, with vertex colours."""
        return Mesh(
            torch.from_numpy(self.array("mesh_vertices").copy()),
            torch.from_numpy(self.array("mesh_faces").astype(np.int64)),
            vertex_colors=torch.from_numpy(self.array("mesh_colors")),
        )

    @property
    def surface_points(self) -> np.ndarray:
        return self.array("surface_points")

    @property
    def surface_normals(self) -> np.ndarray:
        return self.array("surface_normals")

    @property
    def iou_points(self) -> np.ndarray:
        return self.array("iou_points")

    @property
    def iou_inside(self) -> np.ndarray:
        """[N] bool."""
        return self.array("iou_inside")[: len(self.stored("iou_points"))]


@dataclass(frozen=True)
class ViewRecord:
    """One rendered view.

    Attributes:
        id: the object's.
        view: its number.
        rgba: uint8 [H, W, 4], colour not premultiplied.
        depth: float32 [H, W], z in world units, 0 where nothing was hit.
        camera: B = 1.
    """

    id: str
    view: int
    rgba: np.ndarray
    depth: np.ndarray
    camera: Camera
    azimuth_deg: float = 0.0
    elevation_deg: float = 0.0

    @property
    def num_bytes(self) -> int:
        return self.rgba.nbytes + self.depth.nbytes

    def picture(self) -> Picture:
        """What samples are cut from."""
        return Picture(f"{self.id}#{self.view}", self.rgba, self.camera, self.depth)


class Sized(Protocol):
    """What may be kept in a cache of bounded size."""

    @property
    def num_bytes(self) -> int: ...


_Cached = str | bytes | list[dict[str, object]] | Sized
_T = TypeVar("_T", bound=Sized)


class ShardedDataset:
    """Prepared shards with their manifest. Pickles as its address, so it may travel to workers.

    Args:
        storage: where it lies.
        manifest: what it holds.
        cache_bytes: images and packed arrays are kept up to this size, the least recently used leave first.
    """

    def __init__(self, storage: Storage, manifest: Manifest, cache_bytes: int = 2 << 30) -> None:
        self.storage = storage
        self.manifest = manifest
        self.cache_bytes = cache_bytes
        self._by_id = {entry.id: entry for entry in manifest.entries}
        self._cache: OrderedDict[tuple[str, str], _Cached] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()
        self._files: dict[str, pq.ParquetFile] = {}

    @staticmethod
    def open(uri: str | Path, cache_bytes: int = 2 << 30) -> ShardedDataset:
        """Open a data set and check that its shards are there in full length.

        Raises:
            DataError: no manifest, or a shard is missing or truncated (it is named).
        """
        storage = Storage.at(uri)
        manifest = Manifest.read(storage)
        files = [file for shard in manifest.shards for file in shard]
        for file, size in zip(files, storage.sizes([file.name for file in files]), strict=True):
            if size != file.num_bytes:
                state = "is missing" if size is None else f"has {size} bytes instead of {file.num_bytes}"
                raise DataError(f"shard {storage.uri}/{file.name} {state}", _REMEDY_SHARD)
        return ShardedDataset(storage, manifest, cache_bytes)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self.storage, self.cache_bytes)

    @property
    def uri(self) -> str:
        return self.storage.uri

    def verify(self) -> list[str]:
        """Names of the files whose content is not what was written (reads everything)."""
        files = [file for shard in self.manifest.shards for file in shard]
        return [file.name for file in files if self.storage.checksum(file.name) != file.sha256]

    def entries(self, split: str | None = None, categories: Sequence[str] = ()) -> list[ObjectEntry]:
        """Objects of a split (None: of all) and of these categories (empty: all), ordered by id."""
        return [
            entry
            for entry in self.manifest.entries
            if (split is None or entry.split == split) and (not categories or entry.category in categories)
        ]

    def entry(self, object_id: str) -> ObjectEntry:
        try:
            return self._by_id[object_id]
        except KeyError:
            remedy = f"see jobs/inspect_data.py {self.uri}"
            raise DataError(f"{self.uri} has no object {object_id!r}", remedy) from None

    def load_object(self, object_id: str, columns: Iterable[str] | None = None) -> ObjectRecord:
        """One object with these columns (None: all), as few reads as the cache allows.

        Raises:
            DataError: unknown object, or a damaged shard (it is named).
        """
        entry = self.entry(object_id)
        known = [*OBJECT_TEXTS, *object_columns(len(self.manifest.sigmas))]
        wanted = known if columns is None else list(columns)
        cells: dict[str, str | bytes] = {}
        for name in wanted:
            cached = self._lookup((object_id, name))
            if isinstance(cached, (str, bytes)):
                cells[name] = cached
        missing = [name for name in wanted if name not in cells]
        if missing:
            table = self.read_group(OBJECTS_NAME.format(entry.shard), entry.row_group, missing)
            for name in missing:
                cell = table.column(name)[0].as_py()
                cells[name] = cell
                self._keep((object_id, name), cell, _size_of(cell))
        return ObjectRecord(entry, cells, self.manifest.sigmas)

    def load_view(self, object_id: str, view: int, keep: bool = True) -> ViewRecord:
        """One view, decoded; ``keep`` leaves it in the cache.

        Raises:
            DataError: unknown object or view, or a damaged shard.
        """
        key = (object_id, f"view {view}")
        cached = self._lookup(key)
        if isinstance(cached, ViewRecord):
            return cached
        rows = self._view_rows(object_id)
        if not 0 <= view < len(rows):
            raise DataError(f"{object_id} has no view {view}", f"it has {len(rows)}")
        decoded = _decode_view(rows[view])
        if keep:
            self._keep(key, decoded, _size_of(decoded))
        return decoded

    def remembered(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """What ``make`` returns, made once while it stays in the cache.

        Args:
            key: an object's id, and all that the value depends on.
            make: a pure function of the key.
        """
        cached = self._lookup(key)
        if cached is None:
            cached = make()
            self._keep(key, cached, _size_of(cached))
        return cast(_T, cached)

    def load_views(self, object_id: str) -> list[ViewRecord]:
        """All views of an object, decoded."""
        return [_decode_view(row) for row in self._view_rows(object_id)]

    def _view_rows(self, object_id: str) -> list[dict[str, object]]:
        cached = self._lookup((object_id, "views"))
        if isinstance(cached, list):
            return cached
        entry = self.entry(object_id)
        table = self.read_group(VIEWS_NAME.format(entry.shard), entry.row_group, None)
        rows: list[dict[str, object]] = table.to_pylist()
        self._keep((object_id, "views"), rows, _size_of(rows))
        return rows

    def read_group(self, name: str, group: int, columns: list[str] | None) -> pa.Table:
        """One row group of a file, with these columns (None: all).

        Raises:
            DataError: the file is damaged (it is named).
        """
        try:
            with self._lock:  # a parquet reader serves one thread at a time
                if name not in self._files:
                    filesystem, root = self.storage.filesystem()
                    self._files[name] = pq.ParquetFile(filesystem.open_input_file(f"{root}/{name}"))
                return self._files[name].read_row_group(group, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"shard {self.uri}/{name} is damaged: {error}", _REMEDY_SHARD) from error

    def _lookup(self, key: tuple[str, str]) -> _Cached | None:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def _keep(self, key: tuple[str, str], value: _Cached, size: int) -> None:
        if size > self.cache_bytes:
            return
        with self._lock:
            if key in self._cache:
                return
            self._cache[key] = value
            self._cached_bytes += size
            while self._cached_bytes > self.cache_bytes:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= _size_of(dropped)


def _reopened(storage: Storage, cache_bytes: int) -> ShardedDataset:
    # What travels is the address: the manifest of a large set is large, and its shards were checked before.
    return ShardedDataset(storage, Manifest.read(storage), cache_bytes)


def _size_of(value: _Cached) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, list):
        return sum(len(row[name]) for row in value for name in ("rgba_png", "depth_png"))  # type: ignore
    return value.num_bytes


def _decode_view(row: dict[str, object]) -> ViewRecord:
    rgba = np.asarray(Image.open(io.BytesIO(row["rgba_png"])).convert("RGBA"))  # type: ignore[arg-type]
    depth = np.asarray(Image.open(io.BytesIO(row["depth_png"])), np.float32) * np.float32(DEPTH_STEP)  # type: ignore[arg-type]

    def tensor(name: str, *shape: int) -> torch.Tensor:
        return torch.tensor(row[name], dtype=torch.float32).reshape(1, *shape)

    camera = Camera(
        tensor("focal", 2),
        tensor("principal", 2),
        tensor("rotation", 3, 3),
        tensor("translation", 3),
        str(row["projection"]),  # type: ignore[arg-type]
    )
    return ViewRecord(
        str(row["id"]),
        int(row["view"]),  # type: ignore[call-overload]
        rgba,
        depth,
        camera,
        float(row["azimuth_deg"]),  # type: ignore[arg-type]
        float(row["elevation_deg"]),  # type: ignore[arg-type]
    )
