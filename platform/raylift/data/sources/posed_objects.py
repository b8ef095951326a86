"""Annotated poses of the objects in one photograph, as PASCAL3D+, OOD-CV and ImageNet3D give them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Box = tuple[float, float, float, float]
_DEFAULT_VIEWPORT = 3000.0
_MAX_CAD_INDEX = 9999


@dataclass(frozen=True)
class Pose:
    """The viewpoint of one object; see ``geometry.viewpoints.Viewpoint``. Radians, CAD units and pixels."""

    azimuth: float
    elevation: float
    theta: float
    distance: float
    focal_px: float
    px: float
    py: float


@dataclass(frozen=True)
class PosedObject:
    """One annotated object.

    Attributes:
        category: category, also the name of its folder of CAD models.
        cad_index: number of its CAD model, from 1.
        pose: viewpoint; None if it cannot be used.
        box: left, top, right, bottom in pixels from the image's outer corner; None if not annotated.
        problem: why the object cannot be used; empty if it can.
        notes: defects that leave it usable.
    """

    category: str
    cad_index: int = 0
    pose: Pose | None = None
    box: Box | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> PosedObject:
        """The inverse of ``to_dict``, also after JSON turned tuples into lists."""
        pose, box = values["pose"], values["box"]
        left_top_right_bottom: Box | None = None if box is None else (box[0], box[1], box[2], box[3])
        return PosedObject(
            values["category"],
            values["cad_index"],
            None if pose is None else Pose(**pose),
            left_top_right_bottom,
            values["problem"],
            tuple(values["notes"]),
        )


@dataclass(frozen=True)
class PosedPhoto:
    """The annotation of one photograph.

    Attributes:
        objects: every annotated object, in the annotation's order.
        size: width and height of the image that it is for, pixels; None if not stated.
    """

    objects: tuple[PosedObject, ...]
    size: tuple[int, int] | None = None


def object_of(
    annotation: Mapping[str, Any], viewpoint: Mapping[str, Any], unit: Literal["degrees", "radians"], one_based: bool
) -> PosedObject:
    """An object of its annotation; what is missing or impossible is its ``problem``.

    Missing angles are replaced by those of the coarse viewpoint (``azimuth_coarse``...), which is noted.

    Args:
        annotation: ``class``, ``cad_index``, ``bbox``; whether it is ``occluded``.
        viewpoint: angles, ``distance``, ``focal``, ``viewport``, ``px``, ``py``.
        unit: unit of the angles.
        one_based: whether the box counts pixels from 1 and names its last ones, as MATLAB and PASCAL VOC do.
    """
    category = str(annotation.get("class") or "unknown")
    if not re.fullmatch(r"[\w -]+", category):
        category = "unknown"  # it will be part of a path
    index = number(annotation.get("cad_index"))
    box = _box(annotation.get("bbox"), one_based)
    pose, problem, notes = _pose(viewpoint, 1.0 if unit == "radians" else math.pi / 180)
    if not problem and (index is None or not 1 <= index <= _MAX_CAD_INDEX or index != int(index)):
        pose, problem = None, f"the number of its CAD model is {'missing' if index is None else f'{index:g}'}"
    if number(annotation.get("occluded")):
        notes.append("something that is not annotated hides a part of it, which counts as visible")
    return PosedObject(category, 0 if pose is None else int(index or 0), pose, box, problem, tuple(notes))


def _pose(viewpoint: Mapping[str, Any], radians_per_unit: float) -> tuple[Pose | None, str, list[str]]:
    """The pose, what is wrong with it, and notes."""
    angles, coarse = [], []
    for name in ("azimuth", "elevation", "theta"):
        value = number(viewpoint.get(name))
        if value is None:
            value = number(viewpoint.get(f"{name}_coarse"))
            coarse.append(name)
        angles.append(value)
    missing = [name for name, value in zip(("azimuth", "elevation", "theta"), angles, strict=True) if value is None]
    if missing:
        return None, f"its viewpoint is not annotated: it has no {' and no '.join(missing)}", []
    distance, focal, px, py = (number(viewpoint.get(name)) for name in ("distance", "focal", "px", "py"))
    viewport = number(viewpoint.get("viewport"))
    focal_px = (1.0 if focal is None else focal) * (_DEFAULT_VIEWPORT if viewport is None else viewport)
    if not distance or not distance > 0:
        return None, f"its distance is {'missing' if distance is None else f'{distance:g}'}", []
    if not focal_px > 0:
        return None, f"its focal length is {focal_px:g}", []
    if px is None or py is None:
        return None, "its principal point is not annotated", []
    azimuth, elevation, theta = (value * radians_per_unit for value in angles if value is not None)
    notes = [f"its {' and '.join(coarse)} are coarse: no finer viewpoint is annotated"] if coarse else []
    return Pose(azimuth, elevation, theta, distance, focal_px, px, py), "", notes


def number(value: Any) -> float | None:
    """A finite number, or None: MATLAB writes missing ones as empty arrays, and some single ones as arrays."""
    while isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        value = value[0]
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _box(value: Any, one_based: bool) -> Box | None:
    if not isinstance(value, Sequence) or len(value) != 4:
        return None
    edges = [number(edge) for edge in value]
    if any(edge is None for edge in edges):
        return None
    left, top, right, bottom = (float(edge) for edge in edges if edge is not None)
    return (left - 1, top - 1, right, bottom) if one_based else (left, top, right, bottom)
