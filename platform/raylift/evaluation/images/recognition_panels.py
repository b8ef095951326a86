"""Pictures of recognised images: what was seen, what was said of it, and what is true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from scipy import ndimage
from torch.nn.functional import interpolate

from raylift.core.types import Mesh, Reconstruction
from raylift.evaluation.color import render_masked
from raylift.evaluation.images.recognition import Recognised
from raylift.evaluation.images.recognition_answers import Outline
from raylift.evaluation.strips import Strip, to_bytes
from raylift.metrics.recognition import THRESHOLD

HEADER_PX = 14
RED, GREEN, PURPLE = (0.9, 0.1, 0.1), (0.1, 0.75, 0.2), (0.75, 0.2, 0.85)
COLUMNS = "image | predicted outline red, true green | predicted: visible green, occluder purple | truth, hidden purple"

Picture = Float[np.ndarray, "S S 3"]


def recognition_panel(
    found: Recognised,
    categories: Sequence[str],
    mesh: Mesh | None = None,
    own: Reconstruction | None = None,
    image_px: int = 160,
) -> Strip:
    """One image's strip under a line of text, see ``COLUMNS``; then the mesh from its own camera, if there is one.

    Args:
        categories: the model's.
        mesh: surface of ``own``, on the CPU.
        own: the model's reconstruction of the image.
    """
    image = _resized(found.evidence["image"][0].float().numpy(), image_px).transpose(1, 2, 0)
    answer, truth = found.answer, found.truth
    columns = [image, _outlined(image, answer.amodal, truth.amodal if truth.amodal is not None else truth.visible)]
    columns.append(_tinted(image, answer.visible, answer.occluder))
    hidden = None if truth.amodal is None else np.clip(truth.amodal - truth.visible, 0, 1)
    columns.append(_tinted(image, truth.visible, hidden))
    if mesh is not None and own is not None:
        columns.append(render_masked(mesh, own.camera.to("cpu"), image_px)[0].rgb)
    strip = to_bytes(np.concatenate(columns, axis=1))
    return np.concatenate([_header(caption_of(found, categories), strip.shape[1]), strip])


def caption_of(found: Recognised, categories: Sequence[str]) -> str:
    """Such as ``chair-3#0: cup 0.90 (dish), 12 deg, outline 0.87, L2``, with the true category in brackets."""
    answer, scores = found.answer, found.scores
    names = [*categories, "none of them"]
    said = "" if answer.chosen is None or answer.log_probs is None else (
        f"{names[answer.chosen]} {np.exp(answer.log_probs[answer.chosen]):.2f} ({found.category})"
    )  # fmt: skip
    parts = [said]
    if "viewpoint/rotation_deg" in scores:
        parts.append(f"{scores['viewpoint/rotation_deg']:.0f} deg")
    if "outline/amodal_iou" in scores:
        parts.append(f"outline {scores['outline/amodal_iou']:.2f}")
    return f"{found.id}: {', '.join(part for part in (*parts, found.truth.level) if part)}"


def _outlined(image: Picture, predicted: Outline | None, truth: Outline | None) -> Picture:
    """Edges of both outlines over a paler image; the predicted one on top."""
    picture = 0.6 * image + 0.4
    for outline, color in ((truth, GREEN), (predicted, RED)):
        if outline is not None:
            picture[_edge(_resized(outline[None], image.shape[0])[0] >= THRESHOLD)] = color
    return np.asarray(picture)


def _tinted(image: Picture, visible: Outline | None, occluder: Outline | None) -> Picture:
    """A grey image with the visible part in green and what hides the object in purple."""
    picture = np.repeat(0.7 * image.mean(axis=2, keepdims=True) + 0.3, 3, axis=2)
    for part, color in ((visible, GREEN), (occluder, PURPLE)):
        if part is not None:
            strength = 0.6 * _resized(part[None], image.shape[0])[0][..., None].clip(0, 1)
            picture = (1 - strength) * picture + strength * np.array(color)
    return np.asarray(picture)


def _edge(outline: Bool[np.ndarray, "S S"]) -> Bool[np.ndarray, "S S"]:
    """The pixels of an outline next to others."""
    return np.asarray(outline & ~ndimage.binary_erosion(outline, np.ones((3, 3), bool)))


def _header(text: str, width: int) -> Strip:
    line = Image.new("RGB", (width, HEADER_PX), "white")
    ImageDraw.Draw(line).text((2, 1), text.encode("latin-1", "replace").decode("latin-1"), fill="black")
    return np.asarray(line)


def _resized(maps: Float[np.ndarray, "C H W"], image_px: int) -> Float[np.ndarray, "C S S"]:
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[None]
    return np.asarray(interpolate(tensor, (image_px, image_px), mode="bilinear", align_corners=False)[0].numpy())
