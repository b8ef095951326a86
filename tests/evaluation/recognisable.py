"""A tiny collection of half hidden slabs, and recognisers whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from raylift.core.model import Carry, LossOutput, ObjectRecogniser, Phase, Recognition, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera, SampleRequest
from raylift.data.images.config import ImagesConfig
from raylift.data.prepare.ingest import ingest
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.rotations import axis_angle_to_matrix

CATEGORIES = ("cup", "dish")
STORED_PX = 56  # of the window, so that nothing is resampled
SEEN, TALL = 10, 40
WIDTHS = (10, 14, 20, 32)
"""Whole widths, of which 10 pixels are seen: hidden 0, 2/7, 1/2 and 11/16: L0 to L3."""
NUM_TRAIN, NUM_VAL, NUM_TEST = 12, 6, 12
UNKNOWN = "slab-29"
"""A test image of a category that no training image has."""


def camera_of(index: int) -> Camera:
    """From all around; every second object from the same side, so that a constant pose is right for it."""
    azimuth = 20.0 if index % 2 == 0 and index % 4 == 0 else 37.0 * index
    rotation = orbit_rotations(torch.tensor([azimuth]), torch.tensor([10.0])).float()
    return Camera(torch.full((1, 2), 2.0), torch.zeros(1, 2), rotation, torch.tensor([[0.0, 0.0, 3.0]]))


@dataclass(frozen=True)
class SlabSource:
    amodal: bool = True
    kind: str = "slabs"

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        splits = ["train"] * NUM_TRAIN + ["val"] * NUM_VAL + ["test"] * NUM_TEST
        return [
            ImageItem(
                id=f"slab-{index:02d}",
                name=f"slab {index}",
                category="elk" if f"slab-{index:02d}" == UNKNOWN else CATEGORIES[int(index % 3 == 0)],
                reference=str(index),
                split=split,
            )
            for index, split in enumerate(splits)
        ]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        index = int(item.reference)
        rgba = np.full((100, 100, 4), 200, np.uint8)
        rgba[..., 3] = 0
        rgba[30 : 30 + TALL, 45 : 45 + SEEN] = (20 * (index % 8), 90, 120, 255)
        whole = np.zeros((100, 100), np.uint8)
        whole[30 : 30 + TALL, 45 + SEEN - WIDTHS[index % 4] : 45 + SEEN] = 255
        return LoadedImage(
            rgba,
            "A slab.",
            camera=camera_of(index),
            truth=f"body-{index // 2}#{index % 2}",  # two images show one object
            amodal=whole if self.amodal else None,
            window=(22.0, 22.0, 78.0, 78.0),
        )


def prepare_slabs(folder: Path, amodal: bool = True) -> ShardedDataset:
    """12 to train on, 6 to validate, 12 to test, one of them of a category of its own."""
    config = ImagesConfig(image_px=STORED_PX, min_object_px=4, objects_per_shard=16)
    ingest([SlabSource(amodal)], str(folder), config, parallel="none")
    return ShardedDataset.open(folder)


class PlantedRecogniser(ObjectRecogniser):
    """Tells the truth, or what is wrong with it in one way; it knows each image by its id alone.

    Args:
        turn_deg: of the camera about its line of sight.
        wrong_every: every how many-th image has the wrong class; 0: none.
        sureness: probability of the told class; "none of them" and the other class share the rest.
        blind: whether it answers every image alike.
        shift_px: by which outlines are moved to the right.
    """

    def __init__(
        self,
        turn_deg: float = 0.0,
        wrong_every: int = 0,
        sureness: float = 0.9,
        blind: bool = False,
        shift_px: int = 0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.turn_deg, self.wrong_every, self.sureness = turn_deg, wrong_every, sureness
        self.blind, self.shift_px = blind, shift_px
        self.seen_fields: set[str] = set()
        self.seen_ids: set[str] = set()

    @property
    def categories(self) -> tuple[str, ...]:
        return CATEGORIES

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        return SampleRequest(image_px=STORED_PX)

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        return LossOutput([Term("nothing", self.weight.sum())])

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        return {"own": torch.full((len(batch),), 3.0)}

    def recognise(self, batch: Batch, category: Tensor | None = None) -> Recognition:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen_fields |= set(batch.fields)
        self.seen_ids |= set(batch.ids)
        assert batch.camera is not None
        assert not batch.camera.rotation.sub(torch.eye(3)).any(), "the pose is not shown"
        rows = [self._one(name, None if category is None else int(category[row])) for row, name in enumerate(batch.ids)]
        log_probs, rotations, amodal, visible = (torch.stack([row[part] for row in rows]) for part in range(4))
        return Recognition(
            log_probs, replace(batch.camera, rotation=rotations), amodal, visible, (amodal - visible).clamp(min=0)
        )

    def _one(self, name: str, told: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index = int(name.partition("#")[0].rpartition("-")[2])
        known = 0 if self.blind else index
        truth = 2 if f"slab-{known:02d}" == UNKNOWN else int(known % 3 == 0)
        wrong = bool(self.wrong_every) and known % self.wrong_every == 0 and truth != 2
        chosen = told if told is not None else 1 - truth if wrong else truth
        probabilities = torch.full((3,), (1 - self.sureness) / 2)
        probabilities[chosen] = self.sureness
        # Told a wrong class, it is wrong about the pose.
        turn_deg = 90.0 if told is not None and told != truth else self.turn_deg
        turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, turn_deg * torch.pi / 180]))
        visible = torch.zeros(1, STORED_PX, STORED_PX)
        left = (STORED_PX - SEEN) // 2
        visible[0, 8 : 8 + TALL, left : left + SEEN] = 1.0
        whole = torch.zeros_like(visible)
        whole[0, 8 : 8 + TALL, left + SEEN - WIDTHS[known % 4] : left + SEEN] = 1.0
        outlines = (part.roll(self.shift_px, dims=2) for part in (whole, visible))
        return (probabilities.log(), turn @ camera_of(known).rotation[0], *outlines)
