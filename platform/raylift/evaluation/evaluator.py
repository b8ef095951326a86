"""Reconstruct held-out images, measure the meshes, and set trivial baselines beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from raylift.core import collectives
from raylift.core.family import Family
from raylift.core.types import Batch, Field, Mesh, Reconstruction
from raylift.data.config import DataConfig
from raylift.data.dataset import ShardedDataset
from raylift.data.stream import chosen_entries, evaluation_batches
from raylift.evaluation.baselines import MeanShape, Retrieval, fit_mean_shape
from raylift.evaluation.color import ColorScorer, open_lpips
from raylift.evaluation.config import EvaluationConfig, Protocol
from raylift.evaluation.held_out import HeldOut, load_held_out, shape_of
from raylift.evaluation.report import MODEL, EvaluationReport, Tally
from raylift.geometry.iso_surface import extract
from raylift.metrics.comparison import Comparison
from raylift.metrics.protocols import SHAPE_PROTOCOLS
from raylift.metrics.scores import Score

Progress = Callable[[int, int, str], None]
"""Called with (samples done, samples in all, id of the last): this rank's share."""

DISN_VIEWS = 24


def mesh_of(reconstruction: Reconstruction, resolution: int) -> Mesh:
    """A reconstruction's mesh on the CPU, with colours; a field's is extracted at ``resolution`` samples an edge."""
    shape = reconstruction.shape
    return extract(shape, resolution)[0] if isinstance(shape, Field) else shape.to("cpu")


@dataclass(frozen=True)
class _Baselines:
    mean_mesh: Mesh
    mean_shape: MeanShape
    retrieval: Retrieval


def evaluate(
    family: Family,
    dataset: ShardedDataset,
    split: str,
    config: EvaluationConfig,
    data: DataConfig,
    seed: int = 0,
    progress: Progress | None = None,
    on_sample: Callable[[str, Mesh], None] | None = None,
) -> EvaluationReport:
    """Every protocol on every held-out sample; deterministic.

    Every rank of a process group evaluates its share of the samples, and all get the same report.

    Args:
        family: put into eval mode, and back.
        split: "val" or "test".
        seed: keys every draw, together with the object's id.
        progress: see ``Progress``.
        on_sample: given each sample's id and reconstructed mesh, for panels and files.

    Raises:
        DataError: no objects of that split, or a damaged shard.
    """
    color, notes = _color_scorer(config)
    baselines = _fit_baselines(dataset, config, data) if config.baselines else None
    rank, world = collectives.rank(), collectives.world_size()
    entries = chosen_entries(dataset, split, data)
    num_views = min(data.eval_views, *(entry.num_views for entry in entries))
    total = len(range(rank, sum(min(data.eval_views, entry.num_views) for entry in entries), world))
    device = next(family.parameters()).device
    was_training = family.training
    family.eval()
    tally, held_out, done = Tally(), None, 0
    # Scores that do not depend on the view, by (object, method): an object's views follow one another.
    known: dict[tuple[str, str], dict[str, float]] = {}
    try:
        request = replace(family.request, num_points=0)
        with torch.no_grad():
            for batch in evaluation_batches(dataset, request, split, data, seed, rank, world):
                for index, reconstruction in enumerate(family.reconstruct(batch.to(device))):
                    sample = batch.ids[index]
                    object_id = sample.rpartition("#")[0]
                    if held_out is None or held_out.id != object_id:
                        held_out, known = load_held_out(dataset, object_id, config.color_views, seed), {}
                    start = time.perf_counter()
                    mesh = mesh_of(reconstruction, config.resolution)
                    tally.num_empty += mesh.is_empty
                    values = score_mesh(mesh, held_out, config.protocols, color)
                    tally.seconds += time.perf_counter() - start
                    tally.table(MODEL).add(Score(sample, held_out.category, values))
                    if baselines is not None:
                        rows = _score_baselines(baselines, dataset, held_out, batch, index, config, color, known)
                        for method, row in rows.items():
                            tally.table(method).add(Score(sample, held_out.category, row))
                    if on_sample is not None:
                        on_sample(sample, mesh)
                    done += 1
                    if progress is not None:
                        progress(done, total, sample)
    finally:
        family.train(was_training)
    whole = sum(collectives.gather_objects(tally), Tally())
    if baselines is not None:
        shape = baselines.mean_shape
        notes.append(f"mean shape: {shape.source}, IoU {shape.training_iou:.3f} with the training grids")
    if "disn" in config.protocols and num_views != DISN_VIEWS:
        notes.append(f"disn: published figures average {DISN_VIEWS} views of an object, here {num_views}")
    return EvaluationReport(
        split,
        whole.tables,
        num_views,
        config.resolution,
        whole.num_empty,
        whole.seconds / max(1, len(whole.table(MODEL))),
        tuple(notes),
    )


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


def _color_scorer(config: EvaluationConfig) -> tuple[ColorScorer | None, list[str]]:
    if config.color_views == 0:
        return None, []
    lpips, problem = open_lpips() if config.lpips else (None, "")
    return ColorScorer(config.color_px, lpips), [problem] if problem else []


def _fit_baselines(dataset: ShardedDataset, config: EvaluationConfig, data: DataConfig) -> _Baselines:
    """From the very objects that the model was trained on."""
    entries = chosen_entries(dataset, "train", data)
    shape = fit_mean_shape(dataset, entries)
    return _Baselines(shape.mesh(config.resolution), shape, Retrieval(dataset, entries))


def _score_baselines(
    baselines: _Baselines,
    dataset: ShardedDataset,
    held_out: HeldOut,
    batch: Batch,
    index: int,
    config: EvaluationConfig,
    color: ColorScorer | None,
    known: dict[tuple[str, str], dict[str, float]],
) -> Mapping[str, dict[str, float]]:
    """Scores by method; a mesh that this object was already compared with is not measured again."""
    looked_up = baselines.retrieval.nearest(batch["image"][index], batch["mask"][index])
    chosen = {
        "mean_shape": "",
        "retrieval": looked_up,
        "oracle_retrieval": baselines.retrieval.closest(held_out.occupancy32),
    }
    scores = {}
    for method, training_id in chosen.items():
        key = (held_out.id, training_id)
        if key not in known:
            columns = ("mesh_vertices", "mesh_faces", "mesh_colors")
            mesh = dataset.load_object(training_id, columns).mesh if training_id else baselines.mean_mesh
            known[key] = score_mesh(mesh, held_out, config.protocols, color)
        scores[method] = known[key]
    return scores
