"""Scores reconstructions against true shapes: the named protocols and colour, with unlearned baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import torch

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig, Protocol
from raylift.core import collectives
from raylift.core.generators import numpy_generator
from raylift.core.types import Batch, Field, Mesh, Reconstruction, SampleRequest
from raylift.data.feed.stream import chosen_entries
from raylift.data.shapes.record import load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.baseline_cache import BaselineCache, BaselineScores
from raylift.evaluation.color import ColorScorer, open_lpips
from raylift.evaluation.meshes import Solid, shape_of
from raylift.evaluation.report import MODEL_METHOD, Tally
from raylift.evaluation.scorer import Scorer, Values
from raylift.evaluation.shapes.baselines import ShapeBaselines
from raylift.evaluation.shapes.surface_color import ColorsOf, colors_of, surface_color_scores, visible_points
from raylift.evaluation.shapes.target import ShapeTarget, load_held_out
from raylift.evaluation.shapes.visible_evidence import Told
from raylift.metrics.protocols import SHAPE_PROTOCOLS, field_points
from raylift.metrics.shape_pair import ShapePair
from raylift.metrics.similarity_alignment import ICP_POINTS, search_similarity


class ShapeScorer(Scorer):
    """Every protocol of the configuration on every sample of a data set of shapes.

    Baselines are scored once per data set, split and conditioning, and cached (``baseline_cache``).

    Args:
        wanted: request of the model's training samples; baselines see no more.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        wanted: SampleRequest,
        config: EvaluationConfig,
        data: DataConfig,
        seed: int,
        split: str = "",
    ) -> None:
        super().__init__()
        self.dataset, self.config, self.seed = dataset, config, seed
        self._color: ColorScorer | None = None
        if config.color_views:
            lpips, problem = open_lpips() if config.lpips else (None, "")
            self._color = ColorScorer(config.color_px, lpips)
            self.notes += [problem] if problem else []
        self._baselines: ShapeBaselines | None = None
        self._cache: BaselineCache | None = None
        self._kept: BaselineScores | None = None
        if config.baselines:
            entries = chosen_entries(dataset, "train", data)
            told = Told.of(wanted)
            self._baselines = ShapeBaselines(dataset, entries, told, config.resolution)
            if config.cache_baselines and split:
                self._cache = BaselineCache(dataset, self._deciding(split, told, data))
                self._kept = self._cache.read()
            self.notes += self._baselines.notes() if self._kept is None else self._kept.notes
        self._held_out: ShapeTarget | None = None
        if config.align != "none":
            self.notes.append(
                "aligned: each shape, of baselines too, was turned, scaled and moved to fit its own truth, which hides"
                " errors of pose and size"
            )
        # Placed shapes and scores that do not depend on the view, by training object: views of one are consecutive.
        self._known: dict[str | None, tuple[Mesh | Field, Values]] = {}

    def request(self, wanted: SampleRequest) -> SampleRequest:
        return replace(wanted, num_points=0)

    def placed(self, sample: str, solid: Solid) -> Solid:
        return solid if self.config.align == "none" else aligned(solid, self._of(sample))

    def score(self, sample: str, reconstruction: Reconstruction, solid: Solid) -> Values:
        held_out = self._of(sample)
        values = score_solid(solid, held_out, self.config.protocols, self._color)
        return values | self._surface_color(sample, held_out, colors_of(solid.shape))

    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        """A mesh already compared with this object is not measured again."""
        if self._baselines is None:
            return {}
        if self._kept is not None:
            return {method: rows[sample] for method, rows in self._kept.rows.items() if sample in rows}
        held_out, protocols = self._of(sample), self.config.protocols
        rows: dict[str, Values] = {}
        for method, training_id in self._baselines.of_object(held_out, picture).items():
            mesh = self._baselines.mesh(training_id)
            if training_id not in self._known:
                solid = self.placed(sample, self._baselines.solid(mesh))
                self._known[training_id] = solid.shape, score_solid(solid, held_out, protocols, self._color)
            shape, scores = self._known[training_id]
            rows[method] = scores | self._surface_color(sample, held_out, colors_of(shape))
        for method, field in self._baselines.fields(picture).items():
            solid = self.placed(sample, self._baselines.solid(field))
            scores = score_solid(solid, held_out, protocols, self._color)
            rows[method] = scores | self._surface_color(sample, held_out, colors_of(solid.shape))
        for method, ask in self._baselines.colors(picture).items():
            rows[method] = self._surface_color(sample, held_out, ask)
        return {method: values for method, values in rows.items() if values}

    def finish(self, whole: Tally) -> None:
        """Cache the baselines' scores on all ranks' samples."""
        if self._cache is None or self._kept is not None or self._baselines is None or not collectives.is_main():
            return
        rows = {
            method: {row.id: dict(row.values) for row in table.rows}
            for method, table in whole.tables.items()
            if method != MODEL_METHOD
        }
        self._cache.write(BaselineScores(rows, tuple(self._baselines.notes())))

    def _deciding(self, split: str, told: Told, data: DataConfig) -> dict[str, object]:
        config = self.config
        return {
            "split": split,
            "told": asdict(told),
            "categories": data.categories,
            "max_objects": data.max_objects,
            "views": data.eval_views,
            "protocols": config.protocols,
            "resolution": config.resolution,
            **({} if config.align == "none" else {"align": config.align}),
            "color": [config.color_views, config.color_px, self._color is not None and self._color.lpips is not None],
            "seed": self.seed,
        }

    def _surface_color(self, sample: str, held_out: ShapeTarget, ask: ColorsOf | None) -> Values:
        if self._color is None or ask is None:
            return {}
        object_id, _, view = sample.rpartition("#")
        visible = visible_points(held_out.color_points, load_view(self.dataset, object_id, int(view)))
        scores = surface_color_scores(ask, held_out.color_points, held_out.colors, visible)
        return {f"color/{name}": value for name, value in scores.items()}

    def _of(self, sample: str) -> ShapeTarget:
        object_id = sample.rpartition("#")[0]
        if self._held_out is None or self._held_out.id != object_id:
            self._held_out = load_held_out(self.dataset, object_id, self.config.color_views, self.seed)
            self._known = {}
        return self._held_out


def aligned(solid: Solid, held_out: ShapeTarget) -> Solid:
    """A shape's mesh, turned, scaled and moved to fit the truth (``metrics.similarity_alignment``)."""
    shape = shape_of(solid.mesh)
    if shape.is_empty:
        return solid
    truth = held_out.truth
    points = shape.sample(ICP_POINTS, numpy_generator(truth.seed, truth.id, "alignment")).points
    found = search_similarity(points, truth.cloud(ICP_POINTS).points)
    vertices = torch.from_numpy(found.apply(shape.vertices)).float()
    return Solid(replace(solid.mesh, vertices=vertices), solid.resolution)


def score_solid(
    solid: Solid, held_out: ShapeTarget, protocols: Sequence[Protocol], color: ColorScorer | None
) -> dict[str, float]:
    """Score one shape by every protocol: ``occnet/iou``, ..., ``color/psnr``, ...

    If ``points`` is the only protocol, no mesh is extracted from a field and no view is rendered.
    """
    values: dict[str, float] = {}
    pair: ShapePair | None = None
    for name in protocols:
        if name == "points" and isinstance(solid.shape, Field):
            scores = field_points(solid.shape, solid.level, held_out.truth)
        else:
            pair = pair or ShapePair(shape_of(solid.mesh), held_out.truth)
            scores = SHAPE_PROTOCOLS[name].score(pair)
        values |= {f"{name}/{metric}": value for metric, value in scores.items()}
    if color is not None and tuple(protocols) != ("points",):
        values |= {f"color/{metric}": value for metric, value in color.score(solid.mesh, held_out.views).items()}
    return values
