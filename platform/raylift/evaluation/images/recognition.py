"""Recognise held-out images and score class, pose and outlines together with baselines that need no learning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.model import ObjectRecogniser, Recognition
from raylift.core.stopwatch import Stopwatch
from raylift.core.types import Batch
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import AlarmBell
from raylift.evaluation.images.recognition_alarms import Seen, recognition_alarms
from raylift.evaluation.images.recognition_answers import (
    Answer,
    Truth,
    answers_of,
    evidence_of,
    score_answer,
    truths_of,
)
from raylift.evaluation.images.recognition_baselines import RecognitionBaselines
from raylift.evaluation.images.recognition_data import NO_AMODAL, RecognitionData
from raylift.evaluation.images.recognition_metrics import by_protocol
from raylift.evaluation.images.recognition_symmetries import Symmetries
from raylift.evaluation.report import MODEL_METHOD, WHOLE, EvaluationReport, SampleScores, Tally
from raylift.evaluation.samples import eval_mode, over_samples
from raylift.metrics.recognition import fit_temperature, negative_log_likelihood, tempered
from raylift.metrics.scores import Score

Progress = Callable[[int, int, str], None]
"""Called with (samples done, samples in total, id of the last), for this rank's share."""

MAX_TRAINING_IMAGES = 3000
"""Maximum number of training images for baselines, evenly spread."""
GIVEN = (
    "nearest_silhouette and visible_mask are given the true visible silhouette, which the model has to find;"
    " constant and random_pose are made of training images alone"
)


@dataclass(frozen=True)
class Recognised:
    """One image with what a model says of it.

    Attributes:
        evidence: what the model saw, B = 1.
        scores: the model's, by metric with protocol.
    """

    id: str
    category: str
    evidence: Batch
    answer: Answer
    truth: Truth
    scores: Mapping[str, float]


@dataclass(frozen=True)
class _Scored:
    """One sample's scores, and what is needed of it for scores of all samples together."""

    scores: SampleScores
    seen: Seen
    log_probs: Float[np.ndarray, "C"]


def evaluate_recognition(
    model: ObjectRecogniser,
    dataset: ShardedDataset,
    split: str,
    config: EvaluationConfig,
    data: DataConfig,
    seed: int = 0,
    progress: Progress | None = None,
    on_sample: Callable[[Recognised], None] | None = None,
) -> EvaluationReport:
    """Every score of ``images.recognition_metrics`` on every held-out image, with predicted and with told class.

    Every rank of a process group evaluates its share of the images, and all ranks return the same report. The model
    sees the images alone (``evidence_of``).

    Args:
        model: model to evaluate; its training mode is restored afterwards.
        split: "train", "val" or "test".
        progress: progress callback, see ``Progress``.
        on_sample: callback with each recognised image, for panels.

    Raises:
        DataError: no images of that split, a damaged shard, or not an image collection.
    """
    share = collectives.rank(), collectives.world_size()
    images = RecognitionData(dataset, data, model.categories, model.request)
    amodal, truth_px = images.has_amodal(split), config.image_px or images.stored_px(split)
    symmetries = Symmetries(dataset, model.categories, config, data)
    notes = [symmetries.note, *([] if amodal else [NO_AMODAL])]
    baselines = None
    if config.baselines:
        known = images.training_images(amodal and images.has_amodal("train"), MAX_TRAINING_IMAGES)
        baselines = RecognitionBaselines(known, symmetries.by_index)
        notes.append(GIVEN)

    def score(batch: Batch) -> Iterator[_Scored]:
        categories = images.categories_of(batch.ids)
        evidence, size = evidence_of(batch), batch["mask"].shape[-1]
        start = time.perf_counter()
        said, stages = _timed(model, evidence)
        found = answers_of(said, size)
        seconds = (time.perf_counter() - start) / len(batch)
        told = _told(model, evidence, categories, size) if max(categories) >= 0 else found
        for row, truth in enumerate(truths_of(batch, categories, len(images.categories), symmetries.by_index)):
            sample, is_known = batch.ids[row], categories[row] >= 0
            of_model = score_answer(found[row], truth), score_answer(told[row], truth) if is_known else {}
            rows = {MODEL_METHOD: of_model} | (baselines.scores(truth) if baselines is not None else {})
            category, shown = images.category_name(sample), images.object_of(sample)
            scores = {
                method: Score(sample, category, by_protocol(*pair, truth.level), shown) for method, pair in rows.items()
            }
            if on_sample is not None:
                own = evidence.select(slice(row, row + 1)).to("cpu")
                on_sample(Recognised(sample, category, own, found[row], truth, scores[MODEL_METHOD].values))
            log_probs = found[row].log_probs
            assert log_probs is not None, "a model tells probabilities"
            yield _Scored(SampleScores(scores, False, seconds, stages), Seen.of(found[row], truth), log_probs)

    total = len(range(share[0], sum(1 for _ in dataset.entries(split, data.categories)), share[1]))
    everyone = over_samples(
        model,
        images.scored_batches(split, seed, share, truth_px, amodal),
        score,
        None if progress is None else lambda done, sample: progress(done, total, sample),
    )
    names = sorted(everyone)
    whole = Tally.of(everyone[name].scores for name in names)
    if config.calibration_images and split != "val" and dataset.entries("val", data.categories):
        notes.append(_calibrate(model, images, config.calibration_images, seed, whole, everyone))
    alarms = recognition_alarms([everyone[name].seen for name in names])
    notes += [f"{name}: {meaning}" for name, meaning in AlarmBell().news(alarms).items()]
    count = max(1, len(names))
    stages = {stage: total / count for stage, total in whole.stages.items()}
    report = EvaluationReport(split, whole.tables, 1, truth_px, 0, whole.seconds / count, tuple(notes), unit="pixels")
    return replace(report, stages=stages)


def first_recognised(
    model: ObjectRecogniser, dataset: ShardedDataset, split: str, data: DataConfig, count: int, seed: int = 0
) -> list[Recognised]:
    """The first ``count`` held-out images: always the same ones, so that their pictures show progress."""
    images = RecognitionData(dataset, data, model.categories, model.request)
    found: list[Recognised] = []
    with eval_mode(model) as device:
        for batch in images.scored_batches(split, seed, (0, 1), images.stored_px(split), images.has_amodal(split)):
            categories = images.categories_of(batch.ids)
            evidence = evidence_of(batch).to(device)
            answers = answers_of(model.recognise(evidence), batch["mask"].shape[-1])
            for row, truth in enumerate(truths_of(batch, categories, len(images.categories))):
                sample, own = batch.ids[row], evidence.select(slice(row, row + 1)).to("cpu")
                scores = by_protocol(score_answer(answers[row], truth), {}, truth.level)
                found.append(Recognised(sample, images.category_name(sample), own, answers[row], truth, scores))
            if len(found) >= count:
                break
    return found[:count]


def _timed(model: ObjectRecogniser, evidence: Batch) -> tuple[Recognition, dict[str, float]]:
    """A model's answers, and the CPU seconds of its stages per image; none for a model without stages."""
    watch = model.stopwatch = Stopwatch()
    try:
        with watch.stage(WHOLE):
            said = model.recognise(evidence)
    finally:
        model.stopwatch = None
    if len(watch.seconds) == 1:
        return said, {}
    return said, {stage: seconds / len(evidence) for stage, seconds in watch.seconds.items()}


def _told(model: ObjectRecogniser, evidence: Batch, categories: Sequence[int], truth_px: int) -> list[Answer]:
    """Answers with the class told, with maps of the truth's size; those of an unknown category mean nothing."""
    told = torch.tensor([max(0, index) for index in categories], device=evidence["image"].device)
    answers = answers_of(model.recognise(evidence, told), truth_px)
    pairs = zip(answers, categories, strict=True)
    return [replace(answer, log_probs=None, category=category) for answer, category in pairs]


def _calibrate(
    model: ObjectRecogniser,
    images: RecognitionData,
    most: int,
    seed: int,
    whole: Tally,
    everyone: Mapping[str, _Scored],
) -> str:
    """Fit a temperature to validation images, and add what it does to the scored ones; returns a note."""
    share, last = (collectives.rank(), collectives.world_size()), len(images.categories)

    def probabilities(batch: Batch) -> list[tuple[Float[np.ndarray, "C"], int]]:
        truth = [index if index >= 0 else last for index in images.categories_of(batch.ids)]
        answers = answers_of(model.recognise(evidence_of(batch)), batch["image"].shape[-1])
        found = []
        for answer, category in zip(answers, truth, strict=True):
            assert answer.log_probs is not None, "a model tells probabilities"
            found.append((answer.log_probs, category))
        return found

    batches = images.batches(images.evidence_request(), "val", seed, share, most)
    known = over_samples(model, batches, probabilities)
    pairs = [known[name] for name in sorted(known)]
    temperature = fit_temperature(np.stack([one for one, _ in pairs]), np.array([truth for _, truth in pairs]))
    for sample, scored in everyone.items():
        row = whole.table(MODEL_METHOD).scores[sample]
        log_probs = tempered(scored.log_probs[None], temperature)
        loss = negative_log_likelihood(log_probs, np.array([scored.seen.true_category]))
        more = {"calibrated_nll": float(loss[0]), "calibrated_confidence": float(np.exp(log_probs.max()))}
        values = {**row.values, **{f"class/{name}": value for name, value in more.items()}}
        whole.table(MODEL_METHOD).add(replace(row, values=values))
    return (
        f"class: calibrated scores divide the log-probabilities by {temperature:.2f}, fitted to {len(pairs)} validation"
        " images"
    )
