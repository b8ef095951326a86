"""The three tables of a prepared data set: columns, packing, units, version.

Arrays are stored as little-endian bytes, one array per cell. Lengths and colours are stored as normalised integers
("snorm16": value = stored / 32767 x scale), because a fixed step suits points in a box better than a float's and takes
half the space. The shape, packing and unit of each column are in its Arrow metadata, the version in the table's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from raylift.core.errors import DataError
from raylift.data.store.manifest import ROWS_PER_GROUP, SCHEMA_VERSION

PAYLOAD_VERSION = 2
"""Incremented when the same scene and settings produce different rows, so that old shards are not reused."""

Packing = Literal["snorm16", "snorm8", "unorm8", "float32", "int32", "bits"]
_DTYPES = {"snorm16": "<i2", "snorm8": "i1", "unorm8": "u1", "float32": "<f4", "int32": "<i4", "bits": "u1"}


@dataclass(frozen=True)
class ArrayColumn:
    """One array per row, packed into bytes.

    Attributes:
        name: column name.
        shape: array shape, -1 for the axis that varies.
        packing: storage format of the numbers.
        scale: value that the largest integer represents, in the normalised packings.
        unit: unit of the unpacked values.
        meaning: description in one sentence.
    """

    name: str
    shape: tuple[int, ...]
    packing: Packing
    scale: float
    unit: str
    meaning: str

    def field(self) -> pa.Field:
        metadata = {
            "shape": ",".join(str(size) for size in self.shape),
            "packing": self.packing,
            "scale": repr(self.scale),
            "unit": self.unit,
            "meaning": self.meaning,
        }
        return pa.field(self.name, pa.binary(), nullable=False, metadata=metadata)

    def pack(self, values: np.ndarray) -> bytes:
        """Convert values to bytes; normalised packings clip to [-scale, scale] (unorm8: [0, scale])."""
        if self.packing == "bits":
            return np.packbits(np.asarray(values, bool), bitorder="little").tobytes()
        if self.packing in ("float32", "int32"):
            return np.ascontiguousarray(values, _DTYPES[self.packing]).tobytes()
        top = {"snorm16": 32767, "snorm8": 127, "unorm8": 255}[self.packing]
        low = 0 if self.packing == "unorm8" else -top
        scaled = np.clip(np.rint(np.asarray(values, np.float64) * (top / self.scale)), low, top)
        return scaled.astype(_DTYPES[self.packing]).tobytes()

    def stored(self, data: bytes) -> np.ndarray:
        """View bytes as the stored integers or floats, in shape, without a copy. Bits are returned flat and packed.

        Raises:
            DataError: the length does not fit.
        """
        flat = np.frombuffer(data, _DTYPES[self.packing])
        if self.packing == "bits":
            return flat
        try:
            return flat.reshape(self.shape)
        except ValueError:
            raise DataError(
                f"column {self.name}: {flat.size} numbers do not fit {self.shape}", "prepare the data set again"
            ) from None

    def values(self, stored: np.ndarray) -> np.ndarray:
        """Convert stored integers, or any selection of them, to float32 (bits: to bool)."""
        if self.packing == "bits":
            return np.unpackbits(stored, bitorder="little").astype(bool)
        if self.packing in ("float32", "int32"):
            return stored
        top = {"snorm16": 32767, "snorm8": 127, "unorm8": 255}[self.packing]
        return stored.astype(np.float32) * np.float32(self.scale / top)

    def unpack(self, data: bytes) -> np.ndarray:
        return self.values(self.stored(data))

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The values as read back after storage: distances are computed at these."""
        return self.unpack(self.pack(values)).reshape(values.shape)


TRUNCATION = 0.1
"""Signed distances of supervised points are stored in [-0.1, 0.1] (implicit paper, section 4.1)."""

GRID_RESOLUTION = 32

_WORLD = "object units: the longest edge of the bounding box is 1"


def sample_columns(index: int) -> tuple[ArrayColumn, ArrayColumn, ArrayColumn]:
    """Points, signed distances and colours of one noise level; ``index`` counts levels from 0."""
    return (
        ArrayColumn(
            f"sample_points_{index}", (-1, 3), "snorm16", 1.0, _WORLD, "surface points moved by Gaussian noise"
        ),
        ArrayColumn(f"sample_sdf_{index}", (-1,), "snorm16", TRUNCATION, _WORLD, "truncated signed distance there"),
        ArrayColumn(
            f"sample_colors_{index}", (-1, 3), "unorm8", 1.0, "sRGB in [0, 1]", "mean of the K nearest in the cloud"
        ),
    )


_GRID = (GRID_RESOLUTION,) * 3
OBJECT_ARRAYS = (
    ArrayColumn("cloud_points", (-1, 3), "snorm16", 1.0, _WORLD, "all views' pixels reprojected by depth"),
    ArrayColumn("cloud_colors", (-1, 3), "unorm8", 1.0, "sRGB in [0, 1]", "their colours"),
    ArrayColumn(
        "occupancy32", _GRID, "unorm8", 1.0, "1", "whether cell centres over [-0.55, 0.55]^3 lie inside, [x, y, z]"
    ),
    ArrayColumn("sdf32", _GRID, "snorm16", 1.0, _WORLD, "signed distance at those cell centres, not truncated"),
    ArrayColumn("mesh_vertices", (-1, 3), "float32", 1.0, _WORLD, "of the watertight true surface"),
    ArrayColumn("mesh_faces", (-1, 3), "int32", 1.0, "index", "counter-clockwise seen from outside"),
    ArrayColumn("mesh_colors", (-1, 3), "unorm8", 1.0, "sRGB in [0, 1]", "of its vertices"),
    ArrayColumn("surface_points", (-1, 3), "snorm16", 1.0, _WORLD, "uniform by area on the true surface"),
    ArrayColumn("surface_normals", (-1, 3), "snorm8", 1.0, "1", "its outward unit normals there"),
    ArrayColumn("iou_points", (-1, 3), "snorm16", 1.0, _WORLD, "uniform in [-0.55, 0.55]^3"),
    ArrayColumn("iou_inside", (-1,), "bits", 1.0, "1", "whether they lie inside, a bit a point"),
)

OBJECT_TEXTS = ("id", "name", "category", "caption", "style", "material", "licence", "creator", "source", "notes")


def object_columns(num_sigmas: int) -> dict[str, ArrayColumn]:
    """All array columns of the objects table, by name."""
    columns = list(OBJECT_ARRAYS)
    for index in range(num_sigmas):
        columns += sample_columns(index)
    return {column.name: column for column in columns}


def objects_schema(sigmas: tuple[float, ...]) -> pa.Schema:
    """One row per object, one row per row group."""
    fields = [pa.field(name, pa.string(), nullable=False) for name in OBJECT_TEXTS]
    fields += [column.field() for column in object_columns(len(sigmas)).values()]
    return pa.schema(fields, metadata={**_table_metadata("objects"), "sigmas": ",".join(repr(s) for s in sigmas)})


DEPTH_STEP = 1e-4
"""Depth images are 16-bit PNGs in steps of 1e-4 object units, up to 6.5; 0 means nothing hit."""


def views_schema() -> pa.Schema:
    """One row per view, one row group per object; the images are in the table of pixels."""

    def vector(name: str, size: int, unit: str) -> pa.Field:
        return pa.field(name, pa.list_(pa.float32(), size), nullable=False, metadata={"unit": unit})

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("view", pa.int32(), nullable=False),
            vector("focal", 2, "half image sizes"),
            vector("principal", 2, "normalised image coordinates"),
            vector("rotation", 9, "world to OpenCV camera axes, row by row"),
            vector("translation", 3, _WORLD),
            pa.field("projection", pa.string(), nullable=False),
            pa.field(
                "azimuth_deg", pa.float32(), nullable=False, metadata={"unit": "degrees from the front towards +X"}
            ),
            pa.field("elevation_deg", pa.float32(), nullable=False, metadata={"unit": "degrees above the horizon"}),
        ],
        metadata=_table_metadata("views"),
    )


PIXELS = ("rgba_png", "depth_png")


def pixels_schema() -> pa.Schema:
    """One row per view, each a row group of its own, so that a view is read without the object's others.

    A table of its own, because every column costs a row group about 100 bytes of a file's footer.
    """
    units = ("sRGB and coverage, 8 bit, not premultiplied", f"{DEPTH_STEP} object units, along z; 0: none")
    fields = [
        pa.field(name, pa.binary(), nullable=False, metadata={"unit": unit})
        for name, unit in zip(PIXELS, units, strict=True)
    ]
    return pa.schema(fields, metadata={**_table_metadata("pixels"), ROWS_PER_GROUP: "1"})


def _table_metadata(table: str) -> dict[str, str]:
    return {
        "raylift.table": table,
        "raylift.schema_version": str(SCHEMA_VERSION),
        "raylift.frame": "right-handed, Y up, facing +Z, bounding box centred, longest edge 1",
    }
