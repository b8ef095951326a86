"""Held-out and training images for scoring a recogniser of objects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from raylift.config.data import DataConfig
from raylift.core.errors import DataError
from raylift.core.types import Batch, SampleRequest
from raylift.data.feed.stream import chosen_entries, evaluation_batches
from raylift.data.images.record import load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.images.recognition_baselines import TrainingImages, baseline_request

NO_AMODAL = "outline: the images have no amodal masks, so whole objects, hidden parts and levels are not scored"
TRAINING_BATCH = 64


@dataclass(frozen=True)
class RecognitionData:
    """The images of one data set, as scoring a recogniser sees them.

    Categories are matched by name, so a model may be scored on another data set than it was trained on.

    Attributes:
        categories: the model's categories.
        wanted: the model's request of training samples.
    """

    dataset: ShardedDataset
    data: DataConfig
    categories: tuple[str, ...]
    wanted: SampleRequest

    def __post_init__(self) -> None:
        if self.dataset.manifest.kind != "images":
            raise DataError(
                f"{self.dataset.uri} is not an image collection",
                "a recogniser of objects is scored on images: make some with --source scenes:FOLDER",
            )

    def has_amodal(self, split: str) -> bool:
        """Whether the images have amodal masks; the split's first decides."""
        return load_image(self.dataset, self._entries(split)[0].id).amodal is not None

    def stored_px(self, split: str) -> int:
        """Side of the stored images, pixels."""
        return int(load_image(self.dataset, self._entries(split)[0].id).rgba.shape[0])

    def request(self, split: str) -> SampleRequest:
        """The request of quick validation: what the model wants, with all that is known for scoring."""
        return replace(self.wanted, amodal=self.has_amodal(split), truth=True, num_points=0)

    def evidence_request(self) -> SampleRequest:
        """The request of what a model may see."""
        return SampleRequest(
            self.wanted.image_px, crop=self.wanted.crop, background=self.wanted.background, truth=True
        ).without_draws()

    def training_images(self, amodal: bool, most: int) -> TrainingImages:
        """The images that the model was trained on, at most so many, evenly spread.

        Raises:
            DataError: no training images.
        """
        entries = self._entries("train")
        some = entries[:: max(1, math.ceil(len(entries) / most))]
        request = baseline_request(self.wanted, amodal)
        batches = evaluation_batches(self.dataset, request, "train", self.data, batch_size=TRAINING_BATCH, entries=some)
        return TrainingImages.read(batches, self.category_of, len(self.categories))

    def batches(
        self, request: SampleRequest, split: str, seed: int, share: tuple[int, int], most: int = 0
    ) -> Iterator[Batch]:
        """A rank's share of a split.

        Args:
            share: rank and number of ranks.
            most: maximum number of images of the whole split, evenly spread; 0 for all.
        """
        entries = self._entries(split)
        some = entries[:: math.ceil(len(entries) / most)] if most else entries
        return evaluation_batches(self.dataset, request, split, self.data, seed, *share, entries=some)

    def scored_batches(
        self, split: str, seed: int, share: tuple[int, int], truth_px: int, amodal: bool
    ) -> Iterator[Batch]:
        """A rank's share of a split: images of the model's size, with masks of the truth's size, and cameras."""
        truth = SampleRequest(truth_px, crop=self.wanted.crop, amodal=amodal)
        shown = self.batches(self.evidence_request(), split, seed, share)
        for evidence, known in zip(shown, self.batches(truth, split, seed, share), strict=True):
            masks = {name: known[name] for name in ("mask", "amodal") if name in known}
            yield replace(evidence, fields={"image": evidence["image"], **masks})

    def category_of(self, sample: str) -> int:
        """Index of a sample's category; -1: none of the model's."""
        name = self.category_name(sample)
        return self.categories.index(name) if name in self.categories else -1

    def categories_of(self, samples: Sequence[str]) -> list[int]:
        return [self.category_of(sample) for sample in samples]

    def category_name(self, sample: str) -> str:
        return self.dataset.entry(sample.rpartition("#")[0]).category

    def object_of(self, sample: str) -> str:
        """The object that an image shows, by which images are grouped; "" if unknown."""
        return load_image(self.dataset, sample.rpartition("#")[0]).truth.rpartition("#")[0]

    def _entries(self, split: str) -> list[ObjectEntry]:
        return chosen_entries(self.dataset, split, self.data)
