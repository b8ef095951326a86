"""Plots of a sweep: every value against the score, parallel coordinates, importances, progress, the front."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from raylift.sweeps.config import Metric, Sweep
from raylift.sweeps.records import Trial
from raylift.sweeps.results import importances, pareto_front
from raylift.sweeps.space import Choice, Dimension

COLORS = "viridis"
COLUMNS = 3


def draw_plots(sweep: Sweep, trials: Sequence[Trial]) -> dict[str, bytes]:
    """PNG files by name; empty where no trial has a score."""
    scored = [trial for trial in trials if trial.scores(sweep.metrics) is not None]
    if not scored:
        return {}
    pictures = {
        "parameters.png": _parameters(sweep, scored),
        "parallel.png": _parallel(sweep, scored),
        "progress.png": _progress(sweep, trials),
    }
    found = importances(sweep.space, trials, sweep.metrics[0])
    if found:
        pictures["importance.png"] = _importance(found, sweep.metrics[0])
    if len(sweep.metrics) == 2:
        pictures["front.png"] = _front(sweep, scored)
    return pictures


def _figure(width: float, height: float) -> Any:
    # Without pyplot: no window, no state that other figures of the process share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _position(dimension: Dimension, value: Any) -> float:
    """Position of a value on its own axis, in [0, 1]."""
    if isinstance(dimension, Choice):
        return float(dimension.values.index(value)) / max(1, len(dimension.values) - 1)
    if dimension.is_log:
        return (math.log(value) - math.log(dimension.low)) / (math.log(dimension.high) - math.log(dimension.low))
    return float((value - dimension.low) / (dimension.high - dimension.low))


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    if isinstance(dimension, Choice):
        return [(_position(dimension, value), str(value)) for value in dimension.values]
    return [(share, f"{dimension.at(share):.3g}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def _label(path: str) -> str:
    return path.removeprefix("model.").removeprefix("optimizers.").removeprefix("default.")


def _parameters(sweep: Sweep, scored: Sequence[Trial]) -> bytes:
    """One panel per dimension: its value against the score; the colour shows how far the trial ran."""
    metric, paths = sweep.metrics[0], list(sweep.space.dimensions)
    rows = math.ceil(len(paths) / COLUMNS)
    figure = _figure(4.2 * min(COLUMNS, len(paths)), 3.2 * rows)
    longest = max(trial.step for trial in scored) or 1
    for index, path in enumerate(paths):
        axes, dimension = figure.add_subplot(rows, min(COLUMNS, len(paths)), index + 1), sweep.space.dimensions[path]
        own = [trial for trial in scored if path in trial.generation.values]
        xs = [_position(dimension, trial.generation.values[path]) for trial in own]
        ys = [(trial.scores(sweep.metrics) or (math.nan,))[0] for trial in own]
        points = axes.scatter(xs, ys, c=[trial.step for trial in own], cmap=COLORS, vmin=0, vmax=longest, s=36)
        axes.set_xticks(*zip(*_ticks(dimension), strict=True))
        axes.set_xlabel(_label(path) + (" (log)" if not isinstance(dimension, Choice) and dimension.is_log else ""))
        axes.set_ylabel(metric.name)
        axes.grid(alpha=0.3)
        if index == len(paths) - 1:
            figure.colorbar(points, ax=axes, label="step reached")
    figure.suptitle(sweep.title)
    return _png(figure)


def _parallel(sweep: Sweep, scored: Sequence[Trial]) -> bytes:
    """One line per trial through all its values to its score, which is also its colour; a gap where a value was not
    searched."""
    from matplotlib import colormaps

    metric, paths = sweep.metrics[0], list(sweep.space.dimensions)
    figure = _figure(1.9 * (len(paths) + 1) + 1, 4.2)
    axes = figure.add_subplot()
    scores = [(trial.scores(sweep.metrics) or (math.nan,))[0] for trial in scored]
    low, high = min(scores), max(scores)
    span = (high - low) or 1.0
    order = sorted(range(len(scored)), key=lambda index: metric.sign * scores[index])
    for index in order:
        values, share = scored[index].generation.values, (scores[index] - low) / span
        heights = [
            _position(sweep.space.dimensions[path], values[path]) if path in values else math.nan for path in paths
        ]
        goodness = share if metric.direction == "max" else 1 - share
        axes.plot(
            range(len(paths) + 1), [*heights, share], color=colormaps[COLORS](goodness), marker=".",
            alpha=0.35 + 0.6 * goodness, linewidth=1 + 1.5 * goodness,
        )  # fmt: skip
    for column, path in enumerate(paths):
        axes.axvline(column, color="0.7", linewidth=0.8, zorder=0)
        for height, text in _ticks(sweep.space.dimensions[path]):
            axes.annotate(text, (column, height), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center")
    axes.axvline(len(paths), color="0.7", linewidth=0.8, zorder=0)
    for share in (0.0, 0.5, 1.0):
        text = f"{low + share * (high - low):.4g}"
        axes.annotate(text, (len(paths), share), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center")
    axes.set_xticks(range(len(paths) + 1), [*map(_label, paths), metric.name], rotation=20, ha="right")
    axes.set_yticks([])
    axes.set_xlim(-0.2, len(paths) + 0.5)
    axes.set_title(f"{sweep.title}: {len(scored)} trials")
    return _png(figure)


def _progress(sweep: Sweep, trials: Sequence[Trial]) -> bytes:
    """Every trial's score over its steps: where it was stopped, and how the best pulled ahead."""
    metric = sweep.metrics[0]
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    best = max((metric.sign * score for trial in trials if (score := trial.score(metric)) is not None), default=0.0)
    for trial in trials:
        points = [(one.step, one.metrics[metric.name]) for one in trial.reports if metric.name in one.metrics]
        if points:
            leads = trial.score(metric) == metric.sign * best
            axes.plot(
                *zip(*points, strict=True), marker="o", markersize=3, color="C3" if leads else "0.6",
                zorder=2 if leads else 1, label=trial.name if leads else None,
            )  # fmt: skip
    axes.set_xlabel("step")
    axes.set_ylabel(metric.name)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    axes.set_title(sweep.title)
    return _png(figure)


def _importance(found: Mapping[str, float], metric: Metric) -> bytes:
    figure = _figure(6, 0.9 + 0.4 * len(found))
    axes = figure.add_subplot()
    names = list(found)[::-1]
    bars = axes.barh([_label(name) for name in names], [found[name] for name in names])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel(f"fraction of the variance of {metric.name} (fANOVA)")
    return _png(figure)


def _front(sweep: Sweep, scored: Sequence[Trial]) -> bytes:
    """Both metrics; a line joins the trials that no other trial beats."""
    figure = _figure(5, 4)
    axes = figure.add_subplot()
    points = [trial.scores(sweep.metrics) or (math.nan, math.nan) for trial in scored]
    axes.scatter(*zip(*points, strict=True), color="0.6", s=30)
    front = sorted(trial.scores(sweep.metrics) or (math.nan, math.nan) for trial in pareto_front(scored, sweep.metrics))
    axes.plot(*zip(*front, strict=True), marker="o", color="C3", label="Pareto front")
    for name, metric in zip(("x", "y"), sweep.metrics, strict=True):
        getattr(axes, f"set_{name}label")(f"{metric.name} ({metric.direction})")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    return _png(figure)
