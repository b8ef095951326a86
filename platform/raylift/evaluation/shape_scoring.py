"""Reconstructions against true shapes: the named protocols and colour, beside mean shape and retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from raylift.core.types import Batch, Mesh, Reconstruction, SampleRequest
from raylift.data.config import DataConfig
from raylift.data.dataset import ShardedDataset
from raylift.data.stream import chosen_entries
from raylift.evaluation.baselines import MeanShape, Retrieval, fit_mean_shape
from raylift.evaluation.color import ColorScorer, open_lpips
from raylift.evaluation.config import EvaluationConfig, Protocol
from raylift.evaluation.held_out import HeldOut, load_held_out, shape_of
from raylift.evaluation.scorer import Scorer, Values
from raylift.metrics.comparison import Comparison
from raylift.metrics.protocols import SHAPE_PROTOCOLS


@dataclass(frozen=True)
class _Baselines:
    mean_mesh: Mesh
    mean_shape: MeanShape
    retrieval: Retrieval


class ShapeScorer(Scorer):
    """Every protocol of the configuration on every sample of a data set of shapes."""

    def __init__(self, dataset: ShardedDataset, config: EvaluationConfig, data: DataConfig, seed: int) -> None:
        super().__init__()
        self.dataset, self.config, self.seed = dataset, config, seed
        self._color: ColorScorer | None = None
        if config.color_views:
            lpips, problem = open_lpips() if config.lpips else (None, "")
            self._color = ColorScorer(config.color_px, lpips)
            self.notes += [problem] if problem else []
        self._baselines = _fit_baselines(dataset, config, data) if config.baselines else None
        if self._baselines is not None:
            shape = self._baselines.mean_shape
            self.notes.append(f"mean shape: {shape.source}, IoU {shape.training_iou:.3f} with the training grids")
        self._held_out: HeldOut | None = None
        # Scores that do not depend on the view, by training object: an object's views follow one another.
        self._known: dict[str, Values] = {}

    def request(self, wanted: SampleRequest) -> SampleRequest:
        return replace(wanted, num_points=0)

    def score(self, sample: str, reconstruction: Reconstruction, mesh: Mesh) -> Values:
        return score_mesh(mesh, self._of(sample), self.config.protocols, self._color)

    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        """A mesh that this object was already compared with is not measured again."""
        if self._baselines is None:
            return {}
        held_out, retrieval = self._of(sample), self._baselines.retrieval
        chosen = {
            "mean_shape": "",
            "retrieval": retrieval.nearest(picture["image"][0], picture["mask"][0]),
            "oracle_retrieval": retrieval.closest(held_out.occupancy32),
        }
        for training_id in chosen.values():
            if training_id not in self._known:
                columns = ("mesh_vertices", "mesh_faces", "mesh_colors")
                mesh = self.dataset.load_object(training_id, columns).mesh if training_id else self._baselines.mean_mesh
                self._known[training_id] = score_mesh(mesh, held_out, self.config.protocols, self._color)
        return {method: self._known[training_id] for method, training_id in chosen.items()}

    def _of(self, sample: str) -> HeldOut:
        object_id = sample.rpartition("#")[0]
        if self._held_out is None or self._held_out.id != object_id:
            self._held_out = load_held_out(self.dataset, object_id, self.config.color_views, self.seed)
            self._known = {}
        return self._held_out


def score_mesh(
    mesh: Mesh, held_out: HeldOut, protocols: tuple[Protocol, ...], color: ColorScorer | None
) -> dict[str, float]:
    """One mesh by every protocol: ``occnet/iou``, ..., ``color/psnr``, ..."""
    pair = Comparison(shape_of(mesh), held_out.truth)
    values = {
        f"{name}/{metric}": value for name in protocols for metric, value in SHAPE_PROTOCOLS[name].score(pair).items()
    }
    if color is not None:
        values |= {f"color/{metric}": value for metric, value in color.score(mesh, held_out.views).items()}
    return values


def _fit_baselines(dataset: ShardedDataset, config: EvaluationConfig, data: DataConfig) -> _Baselines:
    """From the very objects that the model was trained on."""
    entries = chosen_entries(dataset, "train", data)
    shape = fit_mean_shape(dataset, entries)
    return _Baselines(shape.mesh(config.resolution), shape, Retrieval(dataset, entries))
