"""A comparison of runs as a page: tables, curves, and the meshes of their evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raylift.evaluation.comparison.paired import ONE_SEED, Estimate
from raylift.evaluation.comparison.runs import RunComparison, ScoreLine
from raylift.evaluation.report import MODEL_METHOD
from raylift.export.comparison import Chart, ChartLine, ComparisonPage, Table, TableCell
from raylift.export.glb_reading import read_glb
from raylift.export.mesh_files import file_stem
from raylift.export.viewer import ViewerRow, ViewerShape
from raylift.tracking.reading import TrackingReader

_FACTS = {
    "status": "status",
    "recipe": "recipe",
    "model": "model",
    "data.uri": "data",
    "data.fingerprint": "data fingerprint",
    "git.revision": "code",
    "run.folder": "folder",
}


def comparison_page(comparison: RunComparison, rows: Sequence[ViewerRow] = ()) -> ComparisonPage:
    """The page of a comparison.

    Args:
        rows: rows of meshes, see ``held_out_rows``.
    """
    names = [run.name for run in comparison.runs]
    return ComparisonPage(
        title="Runs compared",
        subtitle=" · ".join(names),
        notes=comparison.notes,
        runs=names,
        tables=[_facts(comparison), *([_scores(comparison)] if comparison.scores else []), _params(comparison)],
        charts=[
            Chart(name, [ChartLine(names[run], run, points) for run, points in enumerate(curves) if points])
            for name, curves in comparison.curves.items()
        ],
        rows=rows,
    )


def held_out_rows(reader: TrackingReader, comparison: RunComparison, folder: Path, count: int) -> list[ViewerRow]:
    """Meshes of the same objects side by side, if two runs or more have logged them; empty if the runs were evaluated
    on different objects.

    Args:
        folder: temporary folder for meshes.
        count: maximum number of objects.
    """
    if comparison.split and not comparison.shares_objects:
        return []
    found = [reader.fetch_meshes(run.run_id, comparison.split, folder / run.run_id) for run in comparison.runs]
    stems = dict.fromkeys(stem for meshes in found for stem in meshes)
    shared = [stem for stem in stems if sum(stem in meshes for meshes in found) > 1][:count]
    rows = []
    for stem in shared:
        shapes = []
        for run, meshes in zip(comparison.runs, found, strict=True):
            if stem in meshes:
                parts = read_glb(meshes[stem])
                shapes.append(ViewerShape(run.name, parts, _main_score(comparison, run.run_id, stem)))
            else:
                shapes.append(ViewerShape(run.name, None, problem="no mesh was logged"))
        rows.append(ViewerRow(stem, shapes=shapes))
    return rows


def gain_text(gain: Estimate, factor: float = 1.0) -> str:
    """Such as ``+0.085 [+0.054, +0.118]``."""
    return f"{factor * gain.mean:+.3g} [{factor * gain.low:+.3g}, {factor * gain.high:+.3g}]"


def _facts(comparison: RunComparison) -> Table:
    runs = comparison.runs
    rows = [[TableCell("id"), *(TableCell(run.run_id) for run in runs)]]
    for tag, name in _FACTS.items():
        values = [run.status.lower() if tag == "status" else run.tags.get(tag, "") for run in runs]
        if any(values):
            rows.append([TableCell(name), *(TableCell(value) for value in values)])
    return Table("Runs", ["", *(run.name for run in runs)], rows, line=[-1, *range(len(runs))])


def _params(comparison: RunComparison) -> Table:
    rows = [
        [TableCell(name), *(TableCell(value or "-", "quiet" if value == values[0] and index else "")
                           for index, value in enumerate(values))]
        for name, values in comparison.params.items()
    ]  # fmt: skip
    note = "" if rows else "No value differs."
    names = [run.name for run in comparison.runs]
    return Table("Differences of recipes", ["", *names], rows, note, [-1, *range(len(names))])


def _scores(comparison: RunComparison) -> Table:
    names = [run.name for run in comparison.runs]
    head, line = ["metric", names[0]], [-1, 0]
    for number, name in enumerate(names[1:], 1):
        head += [name, f"better than {names[0]} by"] if comparison.shares_objects else [name]
        line += [number, number] if comparison.shares_objects else [number]
    count = max(estimate.num_objects for score in comparison.scores for estimate in score.means if estimate)
    note = f"Means over {count} objects with 95 % bootstrap intervals."
    if comparison.shares_objects:
        note += (
            " Differences are paired by object and positive where the run is better. Their intervals cover other"
            " objects, not another training run: with one seed each, which recipe is better stays undecided"
            " (raylift table trains rows with several seeds)."
        )
    rows = [_score_row(score, comparison.shares_objects) for score in comparison.scores]
    return Table(f"Scores on {comparison.split}", head, rows, note, line)


def _score_row(line: ScoreLine, with_gains: bool) -> list[TableCell]:
    arrow = "↑" if line.higher_is_better else "↓"
    factor = f" x{line.factor:g}" if line.factor != 1 else ""
    cells = [TableCell(f"{line.metric}{factor} {arrow}")]
    for index, (mean, gain) in enumerate(zip(line.means, line.gains, strict=True)):
        cells.append(TableCell("-", "quiet") if mean is None else TableCell(_mean_text(mean, line.factor)))
        if with_gains and index:
            hint = "" if gain is None else f"undecided ({ONE_SEED}), over {gain.num_objects} objects"
            cells.append(
                TableCell("-", "quiet") if gain is None else TableCell(gain_text(gain, line.factor), "unsure", hint)
            )
    return cells


def _mean_text(mean: Estimate, factor: float) -> str:
    return f"{factor * mean.mean:.3f} [{factor * mean.low:.3f}, {factor * mean.high:.3f}]"


def _main_score(comparison: RunComparison, run_id: str, stem: str) -> str:
    """The first metric of this mesh's object."""
    if not comparison.scores:
        return ""
    metric, factor = comparison.scores[0].metric, comparison.scores[0].factor
    run = next(run for run in comparison.runs if run.run_id == run_id)
    for row in run.scores.get(comparison.split, ()):
        if (
            row["method"] == MODEL_METHOD
            and file_stem(str(row["id"])) == stem
            and isinstance(row.get(metric), int | float)
        ):
            return f"{metric} {factor * row[metric]:.3f}"
    return ""
