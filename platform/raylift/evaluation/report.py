"""Evaluation report: scores of every object by method, and their summaries, as JSON and as tracker metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from raylift.evaluation.color import COLOR_METRICS
from raylift.evaluation.images.recognition_metrics import (
    MAIN_RECOGNITION_METRIC,
    RECOGNITION_METRICS,
    recognition_summaries,
)
from raylift.evaluation.shapes.surface_color import SURFACE_COLOR_METRICS
from raylift.metrics.pose import circular_std_deg
from raylift.metrics.protocols import SHAPE_PROTOCOLS, MetricSpec, disn_f_scores
from raylift.metrics.scores import Score, ScoreTable, Summary

MODEL_METHOD = "model"
WORST_COUNT = 5
WHOLE = "all"
"""Of all stages of a model together, and what is between them."""
AZIMUTH, AZIMUTH_SPREAD = "azimuth_deg", "azimuth_spread_deg"
"""Each image's azimuth is stored with its scores; the report shows the spread of all azimuths."""

SILHOUETTE_METRICS = {"mask_soft": MetricSpec(True), "mask_hard": MetricSpec(True)}
METRICS: Mapping[str, Mapping[str, MetricSpec]] = {
    **{name: protocol.metrics for name, protocol in SHAPE_PROTOCOLS.items()},
    "color": {**COLOR_METRICS, **SURFACE_COLOR_METRICS},
    "input": {**SILHOUETTE_METRICS, **COLOR_METRICS},
    "unseen": {**SILHOUETTE_METRICS, **COLOR_METRICS},
    "canonical": {"chamfer_l1": MetricSpec(False, 10), **SILHOUETTE_METRICS, **COLOR_METRICS},
    "pose": {
        "rotation_deg": MetricSpec(False),
        "aligned_deg": MetricSpec(False),
        "accuracy_30": MetricSpec(True, 100),
        "accuracy_15": MetricSpec(True, 100),
        "accuracy_10": MetricSpec(True, 100),
        "twin_forgiven_30": MetricSpec(True, 100),
        AZIMUTH_SPREAD: MetricSpec(True),
    },
    "keypoints": {"pck": MetricSpec(True, 100)},
    "sanity": {"depth_ratio": MetricSpec(True), "largest_component": MetricSpec(True)},
    **RECOGNITION_METRICS,
}
"""Direction and printed factor of every metric, by protocol."""
MAIN_METRIC = {name: protocol.main for name, protocol in SHAPE_PROTOCOLS.items()} | {
    "color": "psnr",
    "input": "mask_soft",
    "unseen": "mask_soft",
    "canonical": "mask_soft",
    "pose": "aligned_deg",
    "keypoints": "pck",
    "sanity": "depth_ratio",
    **MAIN_RECOGNITION_METRIC,
}


def metric_spec(metric: str) -> MetricSpec:
    """Direction and printed factor of a metric, by its full name, such as ``occnet/chamfer_l1``."""
    protocol, _, name = metric.partition("/")
    return MetricSpec(True) if name.startswith("f_score") else METRICS[protocol][name]


@dataclass(frozen=True)
class EvaluationReport:
    """Every metric with its protocol, mean and median, overall and by category.

    Attributes:
        split: evaluated split.
        tables: scores by method: "model" first, then baselines.
        num_views: views per object.
        resolution: resolution of extracted surfaces, or of outlines.
        num_empty: reconstructions without any surface (scored as the worst).
        seconds: wall time per reconstruction for extracting and scoring the model's output.
        notes: remarks for the reader, such as why a metric is missing.
        level: iso-level of fields; None for meshes.
        unit: unit of the resolution: cells of extracted surfaces, or pixels of true outlines.
        stages: CPU seconds per image of each stage of the model, and of ``WHOLE``; empty for a model without stages.
    """

    split: str
    tables: Mapping[str, ScoreTable]
    num_views: int
    resolution: int
    num_empty: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    level: float | None = None
    unit: str = "cells"
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def model(self) -> ScoreTable:
        return self.tables[MODEL_METHOD]

    @property
    def main_metric(self) -> str:
        """Metric that ranks the worst cases: the main metric of the first requested protocol."""
        protocol = self.model.metrics[0].partition("/")[0]
        main = f"{protocol}/{MAIN_METRIC[protocol]}"
        return main if main in self.model.metrics else self.model.metrics[0]

    def summaries(self, method: str, category: str | None = None) -> dict[str, Summary]:
        """Mean and median of every metric; F-scores of ``disn`` and the azimuth spread exist per class only, without a
        median. For those of recognitions see ``images.recognition_metrics``."""
        table = self.tables[method]
        azimuth = f"pose/{AZIMUTH}"
        found = {
            metric: table.summary(metric, category)
            for metric in table.metrics
            if metric != azimuth and metric.partition("/")[0] not in RECOGNITION_METRICS
        }
        found |= recognition_summaries(table, category)
        if azimuths := table.values(azimuth, category):
            spread = circular_std_deg(torch.tensor(azimuths, dtype=torch.float64))
            found[f"pose/{AZIMUTH_SPREAD}"] = Summary(spread, float("nan"), len(azimuths))
        for name, value in disn_f_scores(table, category).items():
            found[f"disn/{name}"] = Summary(value, float("nan"), len(table.values("disn/iou", category)))
        return found

    def metrics(self) -> dict[str, float]:
        """Tracker metrics: ``test/occnet/iou_mean``, with a baseline's name: ``test/retrieval/occnet/iou_mean``."""
        values = {}
        for method in self.tables:
            prefix = self.split if method == MODEL_METHOD else f"{self.split}/{method}"
            for metric, summary in self.summaries(method).items():
                values[f"{prefix}/{metric}_mean"] = summary.mean
                if summary.median == summary.median:
                    values[f"{prefix}/{metric}_median"] = summary.median
        return values

    def object_rows(self) -> list[dict[str, Any]]:
        """One row per method and sample, for a table."""
        return [
            {"method": method, "id": row.id, "category": row.category}
            | ({"object": row.object} if row.object else {})
            | dict(row.values)
            for method, table in self.tables.items()
            for row in table.rows
        ]

    def summary_rows(self) -> list[dict[str, Any]]:
        """One row per method, category ("all" first) and metric."""
        rows = []
        for method, table in self.tables.items():
            for category in (None, *table.categories):
                for metric, summary in self.summaries(method, category).items():
                    protocol, _, name = metric.partition("/")
                    rows.append(
                        {
                            "method": method,
                            "category": category or "all",
                            "protocol": protocol,
                            "metric": name,
                            "mean": summary.mean,
                            "median": summary.median if summary.median == summary.median else None,
                            "count": summary.count,
                        }
                    )
        return rows

    def worst_rows(self, count: int = WORST_COUNT) -> list[dict[str, Any]]:
        """The model's worst samples by ``main_metric``, with all their scores."""
        worst = self.model.worst(self.main_metric, count, metric_spec(self.main_metric).higher_is_better)
        return [{"id": row.id, "category": row.category, **row.values} for row in worst]

    def to_json(self) -> str:
        """The whole report, with keys in order: equal evaluations produce equal text."""
        content = {
            "split": self.split,
            "num_samples": len(self.model),
            "num_views": self.num_views,
            "resolution": self.resolution,
            "level": self.level,
            "num_empty": self.num_empty,
            "notes": list(self.notes),
            "summary": self.summary_rows(),
            "worst_by": self.main_metric,
            "worst": self.worst_rows(),
            "objects": self.object_rows(),
        }
        return json.dumps(content, indent=1, allow_nan=False)


@dataclass(frozen=True)
class SampleScores:
    """One sample's scores by method, with how its reconstruction was scored.

    Attributes:
        scores: scores by method, "model" first.
        is_empty: whether the reconstruction is known to have no surface.
        seconds: wall time for extracting and scoring the model's output.
        stages: CPU seconds by stage of the model, and of ``WHOLE``.
    """

    scores: Mapping[str, Score]
    is_empty: bool = False
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Tally:
    """The scores of all ranks' samples, by method."""

    tables: dict[str, ScoreTable] = field(default_factory=dict)
    num_empty: int = 0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(samples: Iterable[SampleScores]) -> Tally:
        """The sum over samples."""
        tally = Tally()
        for sample in samples:
            tally.num_empty += sample.is_empty
            tally.seconds += sample.seconds
            for stage, seconds in sample.stages.items():
                tally.stages[stage] = tally.stages.get(stage, 0.0) + seconds
            for method, score in sample.scores.items():
                tally.table(method).add(score)
        return tally

    def table(self, method: str) -> ScoreTable:
        return self.tables.setdefault(method, ScoreTable())
