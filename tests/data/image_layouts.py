"""Tiny image collections in every layout, made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
BOX = (12, 8, 44, 30)
"""Left, top, right, bottom of the painted object."""


def picture(box: tuple[int, int, int, int] = BOX, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A red-to-green rectangle on a blue ground, cut out by alpha."""
    width, height = size
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[...] = (0, 0, 200, 0)
    left, top, right, bottom = box
    ramp = np.linspace(0, 255, right - left).astype(np.uint8)
    rgba[top:bottom, left:right, 0] = 255 - ramp
    rgba[top:bottom, left:right, 1] = ramp
    rgba[top:bottom, left:right, 2] = 0
    rgba[top:bottom, left:right, 3] = 255
    return rgba


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_cutouts(folder: Path, count: int = 6) -> Path:
    for index in range(count):
        category = "birds" if index % 2 else "fish"
        save(folder / category / f"some_thing-{index}.png", picture((12, 8, 30 + 3 * index, 30)))
    (folder / "birds" / "some_thing-1.txt").write_text("A wagtail on a stone.\nsecond line\n")
    return folder


def write_masked(folder: Path) -> Path:
    rgba = picture()
    for name in ("cats/gray", "cats/binary", "lone"):
        save(folder / "images" / f"{name}.jpg", rgba[..., :3])
    save(folder / "masks" / "cats" / "gray.png", rgba[..., 3] // 2 + 40)
    save(folder / "masks" / "cats" / "binary.png", (rgba[..., 3] > 0).astype(np.uint8))
    return folder


def pack_counts(counts: list[int]) -> str:
    """COCO's packed run lengths, from their description."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        while True:
            group, value = value & 31, value >> 5
            done = (value == 0 and not group & 16) or (value == -1 and group & 16)
            text += chr(48 + group + (0 if done else 32))
            if done:
                break
    return text


def runs_of(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel() > 0
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *changes.tolist(), len(flat)]
    runs = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def write_coco(folder: Path) -> Path:
    rgba = picture()
    save(folder / "images" / "a.png", rgba[..., :3])
    save(folder / "images" / "b.png", rgba[..., :3])
    left, top, right, bottom = BOX
    polygon = [left, top, right, top, right, bottom, left, bottom]
    runs = runs_of(rgba[..., 3])
    size = {"size": [HEIGHT, WIDTH]}
    keypoints = [left, top, 2, right, top, 2, 0, 0, 0]
    content = {
        "licenses": [{"id": 4, "name": "CC-BY-4.0"}],
        "images": [
            {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT, "license": 4},
            {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        ],
        "categories": [
            {"id": 7, "name": "cat", "keypoints": ["left_ear", "right_ear", "nose"]},
            {"id": 8, "name": "boat"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [polygon], "keypoints": keypoints,
             "bbox": [left, top, right - left, bottom - top]},
            {"id": 2, "image_id": 2, "category_id": 8, "segmentation": {**size, "counts": runs}},
            {"id": 3, "image_id": 2, "category_id": 7, "segmentation": {**size, "counts": pack_counts(runs)}},
            {"id": 4, "image_id": 2, "category_id": 7, "segmentation": {**size, "counts": runs}, "iscrowd": 1},
            {"id": 5, "image_id": 2, "category_id": 7, "segmentation": [polygon], "keypoints": [1, 2, 2]},
            {"id": 6, "image_id": 1, "caption": "A cat without a background."},
        ],
    }  # fmt: skip
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


CUB_PARTS = ("back", "beak", "left eye", "right eye")


def write_cub(folder: Path, count: int = 4) -> Path:
    files = [f"{1 + index % 2:03d}.Some_Bird{index % 2}/Some_Bird_{index}.jpg" for index in range(count)]
    left, top, right, bottom = BOX
    (folder / "parts").mkdir(parents=True)
    tables = {
        "images.txt": [f"{index + 1} {file}" for index, file in enumerate(files)],
        "classes.txt": ["1 001.Some_Bird0", "2 002.Some_Bird1"],
        "image_class_labels.txt": [f"{index + 1} {1 + index % 2}" for index in range(count)],
        "train_test_split.txt": [f"{index + 1} {int(index != 1)}" for index in range(count)],
        "bounding_boxes.txt": [f"{index + 1} {left}.0 {top} {right - left}.0 {bottom - top}" for index in range(count)],
        "parts/parts.txt": [f"{index + 1} {name}" for index, name in enumerate(CUB_PARTS)],
        "parts/part_locs.txt": [
            f"{image + 1} {part + 1} {left + 4 * part}.0 {top + image}.0 {int(part != 1)}"
            for image in range(count) for part in range(len(CUB_PARTS))
        ],
    }  # fmt: skip
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    rgba = picture()
    mask = np.where(rgba[..., 3] > 0, 204, 51).astype(np.uint8)
    for file in files:
        save(folder / "images" / file, rgba[..., :3])
        save((folder / "segmentations" / file).with_suffix(".png"), mask)
    return folder
