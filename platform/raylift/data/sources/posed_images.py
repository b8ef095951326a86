"""From a photograph with annotated poses to an image of a collection: camera, outline, and its visible part.

An object's outline is its CAD model as the annotation projects it. Other annotated objects that are nearer hide it, and
so does an occluder mask if the data set has one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from raylift.core.errors import DataError, RayliftError
from raylift.core.inputs.limits import WINDOW_PX, refuse_above
from raylift.core.types import Camera
from raylift.data.shapes.normalise import NormalisedScene
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.image_reading import caption_of
from raylift.data.sources.posed_objects import Box, Pose, PosedObject, PosedPhoto
from raylift.geometry.cameras import project
from raylift.geometry.viewpoints import Viewpoint, from_viewpoint
from raylift.rendering.outline import outline

_NOTED_CUT = 0.01
"""Share of an outline beyond the image's edge that is noted."""
_LEAVE_OUT = "nothing to do: the object is left out"


@dataclass(frozen=True)
class PosedImage:
    """One image of an item list.

    Attributes:
        id: id of the image's first object; further ones get ``@1``, ``@2`` and so on.
        category: category whose objects are items.
        reference: path of the image in its release.
        split: "train" or "test".
        stamp: text that changes with the image and its annotation.
        photo: its annotation.
        problem: why the annotation cannot be read; empty if it can.
        only: index of the only object to use; None uses every object of the category.
        extra: what the source needs to load it.
    """

    id: str
    category: str
    reference: str
    split: str
    stamp: str
    photo: PosedPhoto
    problem: str = ""
    only: int | None = None
    extra: str = ""

    def items(self, cads: CadFolder) -> list[ImageItem]:
        """An item per object; one that reports the problem if there is no such object."""
        objects = self.photo.objects
        problem = self.problem
        if self.only is not None:
            chosen = [self.only] if 0 <= self.only < len(objects) else []
        else:
            chosen = [index for index, one in enumerate(objects) if one.category == self.category]
        if not chosen and not problem:
            what = "annotated" if self.only is None else f"with the number {self.only} annotated"
            problem = f"no {self.category} {what} in it"
        return [
            ImageItem(
                id=self.id if place == 0 else f"{self.id}@{place}",
                name=self.category,
                category=self.category,
                reference=self.reference,
                split=self.split,
                stamp=" ".join([self.stamp, *self._cad_stamps(cads)]),
                details=json.dumps(
                    {
                        "problem": problem,
                        "index": index,
                        "size": self.photo.size,
                        "objects": [one.to_dict() for one in objects],
                        "extra": self.extra,
                    }
                ),
                group=self.id,
            )
            for place, index in enumerate(chosen or [0])
        ]

    def _cad_stamps(self, cads: CadFolder) -> list[str]:
        return [cads.stamp(one.category, one.cad_index) for one in self.photo.objects if not one.problem]


@dataclass(frozen=True)
class PosedItem:
    """What ``PosedImage.items`` wrote into an item's details."""

    reference: str
    caption: str
    index: int
    size: tuple[int, int] | None
    objects: tuple[PosedObject, ...]
    extra: str

    @staticmethod
    def of(item: SourceItem) -> PosedItem:
        """Read an item that ``PosedImage.items`` made.

        Raises:
            DataError: its annotation could not be read, or the object cannot be used.
        """
        assert isinstance(item, ImageItem)
        details = json.loads(item.details)
        if details["problem"]:
            raise DataError(details["problem"], _LEAVE_OUT)
        objects = tuple(PosedObject.from_dict(one) for one in details["objects"])
        target = objects[details["index"]]
        if target.problem:
            raise DataError(target.problem, _LEAVE_OUT)
        size = None if details["size"] is None else (details["size"][0], details["size"][1])
        caption = caption_of(item.caption, item.name)
        return PosedItem(item.reference, caption, details["index"], size, objects, details["extra"])


@dataclass(frozen=True)
class _Canvas:
    """A square of whole pixels that holds the image and what of the object is beyond its edges.

    Attributes:
        left, top: the image's place on it, pixels.
        side: pixels.
    """

    left: int
    top: int
    side: int

    def __post_init__(self) -> None:
        refuse_above(WINDOW_PX, self.side, "the square around image and object", "pixels", _LEAVE_OUT)

    def placed(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of the image on the canvas, 0 elsewhere."""
        canvas = np.zeros((self.side, self.side, *pixels.shape[2:]), pixels.dtype)
        canvas[self.top : self.top + pixels.shape[0], self.left : self.left + pixels.shape[1]] = pixels
        return canvas


def load_posed(
    picture: Image.Image,
    posed: PosedItem,
    cads: CadFolder,
    max_bytes: int,
    occluders: np.ndarray | None = None,
    first_center: float = 1.0,
) -> LoadedImage:
    """The image of an item with its camera, outline and visible part.

    Args:
        picture: the photograph, with its occluders.
        posed: the object and its neighbours.
        cads: the CAD models of its release.
        max_bytes: limit on a CAD model's file.
        occluders: bool [H, W], where something else was pasted over the photograph.
        first_center: coordinate of the first pixel's centre in the annotation.

    Raises:
        DataError: an object that cannot be used, a missing CAD model, or masks and images of different sizes.
    """
    rgb = np.asarray(picture.convert("RGB"))
    height, width = rgb.shape[:2]
    if posed.size is not None and posed.size != (width, height):
        raise DataError(
            f"{posed.reference} is {width} x {height}, its annotation is for {posed.size[0]} x {posed.size[1]}",
            "use the images of the release",
        )
    if occluders is not None and occluders.shape != (height, width):
        raise DataError(
            f"the occluder mask is {occluders.shape[1]} x {occluders.shape[0]}, the image {width} x {height}",
            "download the data set again",
        )
    target = posed.objects[posed.index]
    assert target.pose is not None, "an object without a problem has a pose"
    cad = cads.normalised(target.category, target.cad_index, max_bytes)
    canvas = _canvas(cad, target.pose, (width, height), first_center)
    camera = _camera(cad, target.pose, canvas, first_center)
    amodal = outline(cad.scene.vertices, cad.scene.faces, camera, canvas.side)
    _refuse_elsewhere(amodal, target.box, canvas, (width, height))
    neighbours, notes = _nearer_objects(posed, cads, canvas, max_bytes, first_center)
    seen = canvas.placed(np.ones((height, width), np.float64))
    cut_off = 1 - float((amodal * seen).sum()) / float(amodal.sum())
    if cut_off >= _NOTED_CUT:
        notes.append(f"the image's edge cuts off {cut_off:.0%} of it")
    if occluders is not None:
        seen *= ~canvas.placed(occluders)
    visible = np.rint(amodal * seen * (1 - neighbours)).astype(np.uint8)
    if not (visible > 127).any():
        raise DataError("the object is wholly hidden, or outside of the image", _LEAVE_OUT)
    box = target.box
    return LoadedImage(
        np.concatenate([canvas.placed(rgb), visible[..., None]], axis=-1),
        posed.caption,
        has_background=True,
        box=None
        if box is None
        else (box[0] + canvas.left, box[1] + canvas.top, box[2] + canvas.left, box[3] + canvas.top),
        camera=camera,
        amodal=amodal,
        notes=(*target.notes, *notes),
    )


def _camera(cad: NormalisedScene, pose: Pose, canvas: _Canvas, first_center: float) -> Camera:
    def vector(*values: float) -> torch.Tensor:
        return torch.tensor([list(values)], dtype=torch.float64)

    viewpoint = Viewpoint(
        azimuth=vector(pose.azimuth)[0],
        elevation=vector(pose.elevation)[0],
        theta=vector(pose.theta)[0],
        distance=vector(pose.distance)[0],
        focal_px=vector(pose.focal_px)[0],
        principal_px=vector(pose.px + canvas.left, pose.py + canvas.top),
    )
    side = (canvas.side, canvas.side)
    camera = from_viewpoint(viewpoint, side, vector(*cad.center), vector(cad.extent)[0], first_center)
    camera = camera.to("cpu", torch.float32)
    parts = (camera.focal, camera.principal, camera.rotation, camera.translation)
    if not all(bool(torch.isfinite(part).all()) for part in parts) or not bool((camera.focal > 0).all()):
        raise DataError("its viewpoint is out of range", _LEAVE_OUT)
    return camera


def _canvas(cad: NormalisedScene, pose: Pose, size: tuple[int, int], first_center: float) -> _Canvas:
    """The image, grown to hold its object, by half of the image's longer side at most."""
    longer = max(size)
    plain = _Canvas(0, 0, longer)
    uv, depth = project(_camera(cad, pose, plain, first_center), torch.from_numpy(cad.scene.vertices)[None])
    pixels = ((uv[0] + 1) / 2 * longer)[depth[0] > 0].double().numpy()
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels):
        return plain
    reach = longer // 2
    low = np.clip(np.floor(pixels.min(axis=0)), -reach, 0)
    high = np.clip(np.ceil(pixels.max(axis=0)), size, np.array(size) + reach)
    return _Canvas(int(-low[0]), int(-low[1]), int((high - low).max()))


def _refuse_elsewhere(amodal: np.ndarray, box: Box | None, canvas: _Canvas, size: tuple[int, int]) -> None:
    """Refuse an outline of no area, or one that is nowhere in its annotated box."""
    if not (amodal > 127).any():
        raise DataError("its CAD model projects to no pixel", _LEAVE_OUT)
    if box is None:
        return
    left, right = (math.floor(min(max(edge, 0), size[0])) + canvas.left for edge in (box[0], box[2]))
    top, bottom = (math.floor(min(max(edge, 0), size[1])) + canvas.top for edge in (box[1], box[3]))
    if left < right and top < bottom and not (amodal[top:bottom, left:right] > 127).any():
        raise DataError("its CAD model projects outside of its annotated box", _LEAVE_OUT)


def _nearer_objects(
    posed: PosedItem, cads: CadFolder, canvas: _Canvas, max_bytes: int, first_center: float
) -> tuple[np.ndarray, list[str]]:
    """Coverage in [0, 1] by the other annotated objects in front, and notes on those that are not drawn.

    Objects are in order of their annotated distances, as in PASCAL3D+'s own script: sizes differ between CAD models,
    so this is the best that is known.
    """
    target = posed.objects[posed.index]
    covered = np.zeros((canvas.side, canvas.side))
    notes = []
    for index, other in enumerate(posed.objects):
        if index == posed.index:
            continue
        if other.pose is None or target.pose is None:
            notes.append(f"a {other.category} next to it has no usable viewpoint, so what it hides is unknown")
            continue
        if other.pose.distance >= target.pose.distance:
            continue
        try:
            cad = cads.normalised(other.category, other.cad_index, max_bytes)
            camera = _camera(cad, other.pose, canvas, first_center)
            covered = np.maximum(covered, outline(cad.scene.vertices, cad.scene.faces, camera, canvas.side) / 255)
        except RayliftError as error:
            notes.append(f"a {other.category} next to it is not drawn, so what it hides is unknown: {error.problem}")
    return covered, list(dict.fromkeys(notes))


def without_duplicates(images: Sequence[PosedImage]) -> list[PosedImage]:
    """The first image of each id: put the ones to hold out first, so that none of them is trained on."""
    return list({image.id: image for image in reversed(images)}.values())[::-1]


def with_category(photo: PosedPhoto, category: str) -> PosedPhoto:
    """The same annotation where objects that name no category have this one."""
    objects = (replace(one, category=category) if one.category == "unknown" else one for one in photo.objects)
    return replace(photo, objects=tuple(objects))
