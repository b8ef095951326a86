"""Records of a data set of shapes: an object with its points and ground truth, and its rendered views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from raylift.core.errors import DataError
from raylift.core.inputs.pictures import open_picture
from raylift.core.types import Camera, Mesh
from raylift.data.shapes.schema import DEPTH_STEP, OBJECT_TEXTS, ArrayColumn, object_columns
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.data.store.stored_view import StoredView

OBJECTS_NAME = "objects-{:05d}.parquet"
VIEWS_NAME = "views-{:05d}.parquet"
PIXELS_NAME = "pixels-{:05d}.parquet"


@dataclass(frozen=True)
class PointSamples:
    """Supervised points of one noise level, as stored; ``columns`` convert selections of them to values."""

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
    """One object. Arrays are float32 and unpacked on access; see ``data.shapes.schema`` for shapes and units."""

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
        """The values of some rows of a column, without unpacking the others."""
        return self._columns[name].values(self.stored(name)[rows])

    def _cell(self, name: str) -> str | bytes:
        try:
            return self._cells[name]
        except KeyError:
            raise DataError(
                f"{self.id} was loaded without column {name!r}", "request it when loading the object"
            ) from None

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
        """Supervised points, one entry per noise level."""
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
        id: object id.
        view: view number.
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

    def picture(self) -> StoredView:
        """The stored view that samples are cut from."""
        return StoredView(f"{self.id}#{self.view}", self.rgba, self.camera, self.depth, amodal=self.rgba[..., 3])


def load_object(dataset: ShardedDataset, object_id: str, columns: Iterable[str] | None = None) -> ObjectRecord:
    """Load one object with these columns (None: all), in as few reads as the cache allows.

    Raises:
        DataError: unknown object, or a damaged shard (it is named).
    """
    entry = dataset.entry(object_id)
    known = [*OBJECT_TEXTS, *object_columns(len(dataset.manifest.sigmas))]
    wanted = known if columns is None else list(columns)
    cells: dict[str, str | bytes] = {}
    for name in wanted:
        cached = dataset.lookup((object_id, name))
        if isinstance(cached, (str, bytes)):
            cells[name] = cached
    missing = [name for name in wanted if name not in cells]
    if missing:
        table = dataset.read_group(OBJECTS_NAME.format(entry.shard), entry.row_group, missing)
        for name in missing:
            cell = table.column(name)[0].as_py()
            cells[name] = cell
            dataset.keep((object_id, name), cell)
    return ObjectRecord(entry, cells, dataset.manifest.sigmas)


def load_view(dataset: ShardedDataset, object_id: str, view: int, keep: bool = True) -> ViewRecord:
    """Load and decode one view; ``keep`` leaves it in the cache.

    Raises:
        DataError: unknown object or view, or a damaged shard.
    """
    key = (object_id, f"view {view}")
    cached = dataset.lookup(key)
    if isinstance(cached, ViewRecord):
        return cached
    rows = _view_rows(dataset, object_id)
    if not 0 <= view < len(rows):
        raise DataError(f"{object_id} has no view {view}", f"it has {len(rows)}")
    decoded = _decode_view(rows[view] | _pixels(dataset, object_id, view))
    if keep:
        dataset.keep(key, decoded)
    return decoded


def load_views(dataset: ShardedDataset, object_id: str) -> list[ViewRecord]:
    """All views of an object, decoded."""
    rows = _view_rows(dataset, object_id)
    return [_decode_view(row | _pixels(dataset, object_id, view)) for view, row in enumerate(rows)]


def load_cameras(dataset: ShardedDataset, object_id: str) -> Camera:
    """The cameras of all views of an object, without their images."""
    entry = dataset.entry(object_id)
    columns = ["focal", "principal", "rotation", "translation", "projection"]
    rows = dataset.read_group(VIEWS_NAME.format(entry.shard), entry.row_group, columns).to_pylist()
    return Camera.stack([_decode_camera(row) for row in rows])


def _view_rows(dataset: ShardedDataset, object_id: str) -> list[dict[str, object]]:
    cached = dataset.lookup((object_id, "views"))
    if isinstance(cached, list):
        return cached
    entry = dataset.entry(object_id)
    table = dataset.read_group(VIEWS_NAME.format(entry.shard), entry.row_group, None)
    rows: list[dict[str, object]] = table.to_pylist()
    dataset.keep((object_id, "views"), rows)
    return rows


def _pixels(dataset: ShardedDataset, object_id: str, view: int) -> dict[str, object]:
    """The images of one view; none for a shard from when they were in the table of views, with all of an object's."""
    entry = dataset.entry(object_id)
    name = PIXELS_NAME.format(entry.shard)
    if not dataset.has_file(name):
        return {}
    (row,) = dataset.read_group(name, dataset.first_view(entry) + view, None).to_pylist()
    return dict(row)


def _decode_view(row: dict[str, object]) -> ViewRecord:
    name = f"stored view {row['id']}"
    rgba = np.asarray(open_picture(row["rgba_png"], name).convert("RGBA"))  # type: ignore[arg-type]
    depth = np.asarray(open_picture(row["depth_png"], name), np.float32) * np.float32(DEPTH_STEP)  # type: ignore[arg-type]

    return ViewRecord(
        str(row["id"]),
        int(row["view"]),  # type: ignore[call-overload]
        rgba,
        depth,
        _decode_camera(row),
        float(row["azimuth_deg"]),  # type: ignore[arg-type]
        float(row["elevation_deg"]),  # type: ignore[arg-type]
    )


def _decode_camera(row: dict[str, object]) -> Camera:
    def tensor(name: str, *shape: int) -> torch.Tensor:
        return torch.tensor(row[name], dtype=torch.float32).reshape(1, *shape)

    return Camera(
        tensor("focal", 2),
        tensor("principal", 2),
        tensor("rotation", 3, 3),
        tensor("translation", 3),
        str(row["projection"]),  # type: ignore[arg-type]
    )
