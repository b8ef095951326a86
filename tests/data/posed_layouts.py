"""Tiny releases of PASCAL3D+, Occluded PASCAL3D+, OOD-CV and ImageNet3D: boxes drawn by an independent projection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.reference.pascal3d_projection import convex_outline, project_annotated

WIDTH, HEIGHT = 120, 90
RED, BLUE, GREEN = (220, 30, 30), (20, 20, 200), (20, 200, 20)
LOW, HIGH = np.array([-0.2, -0.5, -0.1]), np.array([0.25, 0.4, 0.35])
"""Opposite corners of the box that is every category's first CAD model: neither centred nor of extent 1."""


def corners(scale: float = 1.0) -> np.ndarray:
    """[8, 3], in the axes and units of the CAD file."""
    choice = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return scale * np.where(choice, HIGH, LOW)


def write_box(file: Path, scale: float = 1.0) -> Path:
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    triangles = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    lines = ["OFF", f"8 {len(triangles)} 0"]
    lines += [" ".join(f"{value:.6f}" for value in corner) for corner in corners(scale)]
    lines += [f"3 {a} {b} {c}" for a, b, c in triangles]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


@dataclass(frozen=True)
class Drawn:
    """One object of a drawn photograph; angles in degrees, pixels as its release counts them."""

    category: str = "car"
    azimuth: float = 35.0
    elevation: float = 15.0
    theta: float = 8.0
    distance: float = 40.0
    px: float = 58.0
    py: float = 47.0
    viewport: float = 3000.0
    cad_index: int = 1

    def pixels(self) -> np.ndarray:
        """Where the corners of the first CAD model are, in the release's own coordinates."""
        angles = (math.radians(angle) for angle in (self.azimuth, self.elevation, self.theta))
        return project_annotated(corners(), *angles, self.distance, self.viewport, self.px, self.py)

    def outline(self, first_center: float = 1.0) -> np.ndarray:
        return convex_outline(self.pixels(), (WIDTH, HEIGHT), first_center)

    def box(self, first_center: float = 1.0) -> list[float]:
        inside = self.outline(first_center)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        first = first_center - 0.5 + 0.5 * (first_center == 1)
        last = first + (first_center != 1)
        return [columns[0] + first, rows[0] + first, columns[-1] + last, rows[-1] + last]

    def viewpoint(self) -> dict[str, float]:
        names = ("azimuth", "elevation", "theta", "distance", "px", "py", "viewport")
        return {**{name: getattr(self, name) for name in names}, "focal": 1.0}

    def matlab(self, **changes: Any) -> dict[str, Any]:
        """An object of PASCAL3D+'s record; ``viewpoint=...`` replaces values of the viewpoint, None removes them."""
        viewpoint = {**self.viewpoint(), **changes.pop("viewpoint", {})}
        return {
            "class": self.category,
            "bbox": np.array(self.box()),
            "cad_index": self.cad_index,
            "viewpoint": {name: value for name, value in viewpoint.items() if value is not None},
            "occluded": 0,
            "truncated": 0,
            **changes,
        }

    def record(self, **changes: Any) -> dict[str, Any]:
        """An object of ImageNet3D's annotations."""
        values = self.viewpoint()
        values |= {name: math.radians(values[name]) for name in ("azimuth", "elevation", "theta")}
        return {
            **{name: np.float64(value) for name, value in values.items()},
            "cad_index": self.cad_index,
            "bbox": np.array(self.box(0.5)),
            "class": self.category,
            "height": np.uint16(HEIGHT),
            "width": np.uint16(WIDTH),
            "object_status": "status_good",
            "dense": "dense_no",
            "ignore": 0,
            **changes,
        }


def paint(objects: Sequence[Drawn], first_center: float = 1.0) -> np.ndarray:
    """Red outlines on blue."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[...] = BLUE
    for one in objects:
        pixels[one.outline(first_center)] = RED
    return pixels


def save_image(file: Path, pixels: np.ndarray) -> Path:
    """Exact pixels under the release's own name: a PNG, whatever the suffix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, "PNG")
    return file


def save_record(file: Path, objects: Sequence[dict[str, Any]], **changes: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"filename": file.stem, "imgsize": np.array([WIDTH, HEIGHT, 3]), **changes}
    # MATLAB's array of structures, or a single one.
    record["objects"] = list(objects) if len(objects) != 1 else objects[0]
    if len(objects) > 1:
        names = list(objects[0])
        structs = np.zeros(len(objects), [(name, object) for name in names])
        for place, one in enumerate(objects):
            for name in names:
                structs[name][place] = one[name]
        record["objects"] = structs
    savemat(file, {"record": record})
    return file


def save_lists(folder: Path, lists: dict[str, Sequence[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, names in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{one}\n" for one in names))


VIEWS = {
    "n01_1": Drawn(),
    "n01_2": Drawn(azimuth=200.0, elevation=-10.0, theta=-20.0, distance=55.0, px=40.0, py=50.0),
    "n01_3": Drawn(azimuth=300.0, elevation=60.0, theta=0.0, distance=45.0, px=70.0, py=40.0),
}
CHAIR = Drawn(category="chair", azimuth=110.0, theta=3.0)


def write_pascal3d(folder: Path) -> Path:
    """Two training cars, one validation car, one training chair."""
    for category in ("car", "chair"):
        write_box(folder / "CAD" / category / "01.off")
    for name, view in [*VIEWS.items(), ("n02_1", CHAIR)]:
        add_photo(folder, name, [view])
    save_lists(
        folder / "Image_sets",
        {
            "car_imagenet_train": ["n01_1", "n01_2"],
            "car_imagenet_val": ["n01_3"],
            "chair_imagenet_train": ["n02_1"],
            "chair_imagenet_val": [],
        },
    )
    return folder


def add_photo(
    folder: Path, name: str, objects: Sequence[Drawn], records: Sequence[dict[str, Any]] | None = None, **changes: Any
) -> None:
    """Save a photograph of PASCAL3D+ and its annotation."""
    subset = f"{objects[0].category}_imagenet"
    save_image(folder / "Images" / subset / f"{name}.JPEG", paint(objects))
    annotation = folder / "Annotations" / subset / f"{name}.mat"
    save_record(annotation, [one.matlab() for one in objects] if records is None else records, **changes)


def list_photo(folder: Path, name: str, listed: str = "car_imagenet_train") -> None:
    with (folder / "Image_sets" / f"{listed}.txt").open("a") as file:
        file.write(f"{name}\n")


OCCLUDER = (slice(5, 85), slice(30, 70))
"""Rows and columns of the pasted square."""


def write_occluded(folder: Path, level: str = "FGL2_BGL2") -> Path:
    """The validation car of ``write_pascal3d`` with a green square over it."""
    view = VIEWS["n01_3"]
    place = f"car{level}"
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[OCCLUDER] = True
    pixels = paint([view])
    pixels[mask] = GREEN
    save_image(folder / "images" / place / "n01_3.JPEG", pixels)
    save_masks(folder / "annotations" / place / "n01_3.npz", mask, view)
    save_lists(folder / "lists", {place: ["n01_3.JPEG"]})
    return folder


def save_masks(file: Path, occluder: np.ndarray, view: Drawn) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        source="../PASCAL3D+/n01_3.JPEG",
        mask=view.outline().astype(np.uint8) * 255,
        occluder_mask=occluder,
        box=np.arange(6),
        occluder_box=np.array([{"not": "needed"}], dtype=object),
        category="car",
        occluder_level="2",
    )


SNOW = "car_+_snow_0001"


def write_ood_cv(folder: Path) -> Path:
    """A training image of PASCAL3D+, an iid test image of it, and a collected one in the snow."""
    write_pascal3d(folder / "PASCAL3D+_release1.1")
    view = replace(VIEWS["n01_2"], azimuth=75.0)
    save_image(folder / "OOD-CV-dataset" / "images" / "car" / f"{SNOW}.jpg", paint([view]))
    other = replace(view, azimuth=10.0, px=90.0, distance=80.0)
    annotation = folder / "OOD-CV-dataset" / "annotations" / "car" / f"{SNOW}.mat"
    save_record(annotation, [other.matlab(), view.matlab()])
    lists = folder / "phase-1-pose-npz"
    save_lists(lists / "train", {"car": ["n01_1"]})
    names = ("iid_test/annotations/imagenet_car_n01_3_0", f"nuisances/weather/annotations/collection_car_{SNOW}_1")
    for name in names:
        file = lists / "phase-1" / f"{name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, azimuth=0.0)
    return folder


def write_imagenet3d(folder: Path) -> Path:
    """A training car, and a validation image of two cars, the second far away."""
    write_box(folder / "CAD" / "car" / "01.off")
    add_records(folder, "n01_1", [VIEWS["n01_1"]])
    far = replace(VIEWS["n01_3"], distance=120.0, px=20.0, py=20.0)
    add_records(folder, "n01_3", [VIEWS["n01_3"], far])
    save_lists(folder / "lists", {"car_imagenet_train": ["n01_1"], "car_imagenet_val": ["n01_3"]})
    return folder


def add_records(
    folder: Path, name: str, objects: Sequence[Drawn], records: Sequence[dict[str, Any]] | None = None
) -> None:
    """Save a photograph of ImageNet3D and its annotation."""
    save_image(folder / "images" / "car" / f"{name}.JPEG", paint(objects, 0.5))
    file = folder / "annotations" / "car" / f"{name}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = [one.record() for one in objects] if records is None else records
    np.savez(file, annotations=np.array(found, dtype=object))
