"""One self-contained HTML page that shows meshes next to their input images."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.storage import write_whole
from raylift.core.types import Camera, Mesh
from raylift.export.parts import Part, split_into_parts, thin_out
from raylift.rendering.scene import Scene

MAX_BYTES = 50 * 2**20
"""MLflow's page previews files up to 50 MiB."""


@dataclass(frozen=True)
class ViewerImage:
    """An image: uint8 [H, W, 3] or [H, W, 4]."""

    label: str
    pixels: np.ndarray
    text: str = ""


@dataclass(frozen=True)
class ViewerShape:
    """A mesh (or its parts, as read from a file) with its label, or the reason why it is missing."""

    label: str
    shape: Mesh | Scene | Sequence[Part] | None
    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ViewerRow:
    """Images and meshes side by side, seen from one camera.

    Attributes:
        name: heading.
        images: images, first in the row.
        shapes: meshes, after the images.
        camera: camera of the input (B = 1), where the views start; without it, the front, slightly from above and the
            side.
        text: text next to the heading, such as scores.
    """

    name: str
    images: Sequence[ViewerImage] = ()
    shapes: Sequence[ViewerShape] = field(default_factory=tuple)
    camera: Camera | None = None
    text: str = ""


def write_viewer(
    rows: Sequence[ViewerRow], path: Path, title: str, subtitle: str = "", max_bytes: int = MAX_BYTES
) -> Path:
    """Write the page: own WebGL2 code, no other file, no network, no storage, so it also works in a sandboxed frame.

    Vertex-coloured meshes that would make the file too large are simplified, and their captions say so.

    Raises:
        DataError: the page is larger than max_bytes even so, or writing fails.
    """
    return write_page(lambda max_faces: render_page(rows, title, subtitle, max_faces), path, len(rows), max_bytes)


def write_page(render: Callable[[int], str], path: Path, num_rows: int, max_bytes: int = MAX_BYTES) -> Path:
    """Write what ``render`` returns for the largest number of faces per mesh that fits in ``max_bytes``.

    Raises:
        DataError: none fits, or writing fails.
    """
    for max_faces in (400_000, 150_000, 60_000, 25_000, 10_000, 4_000):
        page = render(max_faces).encode()
        if len(page) <= max_bytes:
            break
    else:
        raise DataError(
            f"the viewer of {num_rows} rows takes {len(page) / 2**20:.0f} MiB", "show fewer objects on one page"
        )
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), page)
    except OSError as error:
        raise DataError(f"{path} was not written: {error.strerror}", "free space, or choose another folder") from error
    return Path(path)


def render_page(rows: Sequence[ViewerRow], title: str, subtitle: str = "", max_faces: int = 400_000) -> str:
    """The page as text.

    Args:
        max_faces: maximum number of faces per mesh; larger ones are simplified.
    """
    data = {"subtitle": subtitle, "rows": describe_rows(rows, max_faces)}
    return Template(read_web("page.html")).substitute(
        title=html.escape(title), style=read_web("viewer.css"), script=read_web("viewer.js"), data=embed(data)
    )


def read_web(name: str) -> str:
    """The text of a file in ``web``."""
    return (resources.files("raylift.export") / "web" / name).read_text(encoding="utf-8")


def embed(data: Any) -> str:
    """JSON that is safe inside a script element: "</script>" in a name must not end the element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def describe_rows(rows: Sequence[ViewerRow], max_faces: int = 400_000) -> list[dict[str, Any]]:
    """Rows in the form that viewer.js reads; larger meshes are simplified."""
    return [_describe_row(row, max_faces) for row in rows]


def _describe_row(row: ViewerRow, max_faces: int) -> dict[str, Any]:
    return {
        "name": row.name,
        "text": row.text,
        "images": [_describe_image(image) for image in row.images],
        "shapes": [_describe_shape(shape, max_faces) for shape in row.shapes],
        "view": _orbit_of(row.camera),
    }


def _describe_image(image: ViewerImage) -> dict[str, Any]:
    return {
        "label": image.label,
        "text": image.text,
        "width": int(image.pixels.shape[1]),
        "source": _data_uri(image.pixels, "png"),
    }


def _describe_shape(shape: ViewerShape, max_faces: int) -> dict[str, Any]:
    if shape.shape is None:
        return {"label": shape.label, "text": shape.text, "problem": shape.problem or "no mesh", "parts": []}
    try:
        given = shape.shape
        parts = split_into_parts(given) if isinstance(given, Mesh | Scene) else list(given)
    except DataError as error:
        return {"label": shape.label, "text": shape.text, "problem": error.problem, "parts": []}
    thinned = [thin_out(part, max_faces) for part in parts]
    num_faces, num_shown = (sum(len(part.indices) for part in some) for some in (parts, thinned))
    size = f"{num_faces:,} faces" + (f", {num_shown:,} shown" if num_shown < num_faces else "")
    text = f"{shape.text} · {size}" if shape.text else size
    return {"label": shape.label, "text": text, "problem": "", "parts": [_pack_part(part) for part in thinned]}


def _pack_part(part: Part) -> dict[str, Any]:
    low = part.positions.min(axis=0).astype(np.float64)
    extent = max(float((part.positions.max(axis=0) - low).max()), 1e-9)
    steps = np.rint((part.positions - low) / extent * 65535).astype(np.uint16)
    packed: dict[str, Any] = {
        "low": low.tolist(),
        "extent": extent,
        "positions": _pack(_differences(steps)),
        "indices": _pack(_differences(part.indices.reshape(-1, 1).astype(np.uint32))),
        "base": list(part.base_color),
        "smooth": part.normals is not None,
    }
    if part.colors is not None:
        packed["colors"] = _pack(_differences(part.colors))
    if part.texture is not None and part.uvs is not None:
        packed["uvs"] = _pack(part.uvs.astype(np.float32).view(np.uint32))
        packed["texture"] = _data_uri(part.texture, "jpeg")
    return packed


def _differences(values: np.ndarray) -> np.ndarray:
    """Each row minus the one before, modulo the integer's range: neighbours in a mesh are close, so this packs well."""
    shifted = values.copy()
    shifted[1:] -= values[:-1]
    return shifted


def _pack(values: np.ndarray) -> str:
    """Base64 of the zlib-compressed byte planes, lowest first."""
    flat = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).reshape(-1)
    planes = flat.view(np.uint8).reshape(len(flat), -1).T
    return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)).decode()


def _data_uri(pixels: np.ndarray, kind: str) -> str:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind, **({"quality": 90} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(stored.getvalue()).decode()}"


def _orbit_of(camera: Camera | None) -> dict[str, float]:
    """Azimuth and elevation in radians and the distance at which the page's 40 degree lens shows the same size."""
    if camera is None:
        return {"azimuth": math.radians(30), "elevation": math.radians(20), "distance": 2.2}
    rotation = camera.rotation[0].double().cpu().numpy()
    translation = camera.translation[0].double().cpu().numpy()
    if camera.projection == "perspective":
        back = -rotation.T @ translation
        distance = float(np.linalg.norm(back)) / (float(camera.focal[0, 1]) * math.tan(math.radians(20)))
    else:
        back, distance = -rotation[2], 1.0 / (float(camera.focal[0, 1]) * math.tan(math.radians(20)))
    back = back / max(1e-9, float(np.linalg.norm(back)))
    return {
        "azimuth": math.atan2(back[0], back[2]),
        "elevation": math.asin(max(-1.0, min(1.0, back[1]))),
        "distance": min(12.0, max(0.4, distance)),
    }
