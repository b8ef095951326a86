"""A paper's table as data: rows of recipes over one data set, what the paper printed, and the directions it claims."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from raylift.config.codec import read_json
from raylift.config.ready_files import find_file, ready_names
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.data.store.manifest import DataKind
from raylift.evaluation.report import METRICS
from raylift.evaluation.shapes.surface_color import SURFACE_COLOR_METRICS
from raylift.metrics.protocols import SHAPE_PROTOCOLS
from raylift.models.stages import plan_runs, stage_labels, stage_of

READY = Path(__file__).parent / "ready"
"""Folder of the ready tables: ``tuning/tables`` in a checkout."""
BASELINE = "baseline:"
"""Prefix of a baseline's name, in a claim that compares a row with a baseline of the evaluation."""
POINTS_IOU = "points/iou"
_ROW_MAY_NOT = ("seed", "evaluation", "data.eval_views")
"""Paths that a row may not set: rows are compared with the same evaluation and seeds."""


@dataclass(frozen=True)
class Column:
    """A metric, and how the paper measured its figures.

    Attributes:
        metric: with its protocol, such as ``ifnet/iou``.
        paper: the paper's name for it, and what is known about how it was measured.
    """

    metric: str
    paper: str = ""


@dataclass(frozen=True)
class TableRow:
    """One model.

    Attributes:
        name: unique; also names its runs.
        recipe: recipe of the catalogue, or a chain of stages; by default the table's.
        overrides: ``path=value``, applied after the table's.
        paper, paper_median: the paper's figures by metric, in our units (IoU 0.934, not 93.4).
        note: what readers must know.
    """

    name: str
    recipe: str = ""
    overrides: tuple[str, ...] = ()
    paper: dict[str, float] = dataclasses.field(default_factory=dict)
    paper_median: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def slug(self) -> str:
        """The name as part of a folder name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Quoted:
    """A row that the paper quotes from elsewhere, not run here."""

    name: str
    paper: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A claimed direction: one row is better than another.

    Attributes:
        better, than: names of rows, or ``baseline:retrieval`` (of the row that it is compared with).
        metric: metric to compare: an evaluation's, or with ``steps`` one of the table's curves.
        by: "score" compares held-out objects, "steps" how soon a curve reaches the level that both reach.
        says: the paper's words.
    """

    better: str
    than: str
    metric: str
    by: Literal["score", "steps"] = "score"
    says: str = ""

    @property
    def needs_training(self) -> bool:
        """Whether either side is a trained row; two baselines can be compared without training."""
        return not (self.better.startswith(BASELINE) and self.than.startswith(BASELINE))


@dataclass(frozen=True)
class PaperTable:
    """A grid of recipes over one data set, with seeds.

    Attributes:
        title: what the table is about.
        source: which table of which paper, its data and protocol.
        recipe: recipe of rows that name none.
        data: kind of data set that the table needs.
        columns: metrics to show.
        rows: rows to run.
        quoted: rows to show without running them.
        claims: directions to confirm or refute.
        curves: training metrics to plot over the steps.
        overrides: ``path=value`` for every row.
        seeds: seeds; every row is trained once per seed.
    """

    title: str
    source: str
    recipe: str
    data: DataKind
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    quoted: tuple[Quoted, ...] = ()
    claims: tuple[Claim, ...] = ()
    curves: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        self._check_names()
        metrics = [column.metric for column in self.columns]
        known = [f"{protocol}/{name}" for protocol, some in METRICS.items() for name in some]
        for metric in (*metrics, *(claim.metric for claim in self.claims if claim.by == "score")):
            if metric not in known:
                raise _unknown("metric", metric, known)
        shown: list[TableRow | Quoted] = [*self.rows, *self.quoted]
        for row in shown:
            for metric in (*row.paper, *(row.paper_median if isinstance(row, TableRow) else ())):
                if metric not in metrics:
                    raise _unknown(f"column for the paper's figure of row {row.name!r},", metric, metrics)
        for claim in self.claims:
            for name in (claim.better, claim.than):
                if not name.startswith(BASELINE) and name not in self.row_names:
                    raise _unknown("row for a claim,", name, self.row_names)
            if claim.by == "steps" and (claim.metric not in self.curves or BASELINE in (claim.better + claim.than)):
                raise ConfigError(
                    f"the claim of {claim.better!r} by steps has no curves of {claim.metric!r} to compare",
                    f"name one of the table's curves ({', '.join(self.curves) or 'there are none'}) and two rows",
                )

    def _check_names(self) -> None:
        if not self.rows or not self.seeds:
            raise ConfigError("the table has no rows, or no seeds", "add at least one of each")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds are {list(self.seeds)}", "use different seeds of 0 or more")
        slugs = [row.slug for row in self.rows]
        for index, slug in enumerate(slugs):
            if not slug or slug in slugs[:index]:
                raise ConfigError(
                    f"row {self.rows[index].name!r} would share its folder {slug!r} with another", "rename it"
                )
        for row in self.rows:
            for text in row.overrides:
                path = text.partition("=")[0].rpartition(":")[2]
                if any(path == fixed or path.startswith(f"{fixed}.") for fixed in _ROW_MAY_NOT):
                    raise ConfigError(
                        f"row {row.name!r} sets {path}, so its scores could not be compared with the others'",
                        "set it for the whole table (seeds, overrides)",
                    )

    @property
    def row_names(self) -> list[str]:
        return [row.name for row in self.rows]


@dataclass(frozen=True)
class PlannedRow:
    """A row's runs for one seed.

    Attributes:
        runs: names and recipes, in order; the last one is the row's model. A run that another row has too, such as a
            common first stage, is listed in both and trained once.
    """

    row: TableRow
    seed: int
    runs: tuple[tuple[str, Recipe], ...]

    @property
    def name(self) -> str:
        """Name of the run whose model is the row's."""
        return self.runs[-1][0]


def load_table(path: Path) -> PaperTable:
    """Read a table.

    Args:
        path: of its JSON file, or the name of a ready table.

    Raises:
        ConfigError: no such file, not JSON, an unknown field, a wrong type, a claim about a missing row or metric.
    """
    path = find_file(path, READY)
    try:
        return read_json(PaperTable, path.read_text())
    except OSError as error:
        ready = ", ".join(ready_names(READY))
        raise ConfigError(f"cannot read the table {path}: {error.strerror}", f"ready ones: {ready}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.problem}", error.remedy) from None


def by_points(table: PaperTable) -> PaperTable:
    """The table claims by ``points/iou`` instead of other IoUs of shapes, and without what needs surfaces.

    A training run of one minute is then not followed by an evaluation of many. The paper's figures stay next to it, as
    their columns say how they were measured.

    Raises:
        ConfigError: a table of image collections, whose scores are of rendered images.
    """
    if table.data != "shapes":
        raise ConfigError(f"{table.title!r} is a table of {table.data}", "omit --points, which needs shapes")
    renamed = {f"{protocol}/iou": POINTS_IOU for protocol in SHAPE_PROTOCOLS}
    kept = {**renamed, **{f"color/{name}": f"color/{name}" for name in SURFACE_COLOR_METRICS}}

    def figures(given: dict[str, float]) -> dict[str, float]:
        return {kept[metric]: value for metric, value in given.items() if metric in kept}

    columns: dict[str, Column] = {}
    for column in (*table.columns, Column(f"color/{next(iter(SURFACE_COLOR_METRICS))}")):
        if column.metric in kept:
            columns.setdefault(kept[column.metric], replace(column, metric=kept[column.metric]))
    claims = [
        replace(claim, metric=kept.get(claim.metric, claim.metric))
        for claim in table.claims
        if claim.by == "steps" or claim.metric in kept
    ]
    return replace(
        table,
        columns=tuple(columns.values()),
        rows=tuple(
            replace(row, paper=figures(row.paper), paper_median=figures(row.paper_median)) for row in table.rows
        ),
        quoted=tuple(replace(row, paper=figures(row.paper)) for row in table.quoted),
        claims=tuple(dict.fromkeys(claims)),
        overrides=(*table.overrides, 'evaluation.protocols=["points"]', "evaluation.lpips=false"),
    )


def plan_table(
    table: PaperTable, stem: str, storage: str, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[PlannedRow]:
    """Every row's runs, all rows of a seed before the next seed; all recipes are checked.

    Args:
        stem: prefix of the runs' names.
        storage: folder of runs.
        overrides: ``path=value`` for every row, after its own; a stage's overrides apply to the rows that have it.
        seeds: seeds that replace the table's.

    Raises:
        ConfigError: an unknown recipe, path, type or value, naming the row.
    """
    labels = {row.name: stage_labels(row.recipe or table.recipe) for row in table.rows}
    for text in overrides:
        stage = stage_of(text)
        if stage and not any(stage in some for some in labels.values()):
            known = sorted({label for some in labels.values() for label in some})
            raise ConfigError(f"override {text!r} is for a stage {stage!r}", f"stages are {', '.join(known) or 'none'}")
    names: dict[tuple[str, ...], str] = {}
    planned = []
    for seed in seeds or table.seeds:
        for row in table.rows:
            # Skip overrides for a stage that only other rows have.
            fitting = [text for text in overrides if stage_of(text) in ("", *labels[row.name])]
            given = (*table.overrides, *row.overrides, *fitting, f"seed={seed}")
            try:
                runs = plan_runs(row.recipe or table.recipe, given, storage, f"{stem}.{row.slug}.seed{seed}")
            except ConfigError as error:
                raise ConfigError(f"row {row.name!r}: {error.problem}", error.remedy) from None
            planned.append(PlannedRow(row, seed, _share(runs, storage, names)))
    return planned


def _share(
    runs: Sequence[tuple[str, Recipe]], storage: str, names: dict[tuple[str, ...], str]
) -> tuple[tuple[str, Recipe], ...]:
    """The same runs, renamed to existing runs that have the same history."""
    shared: list[tuple[str, Recipe]] = []
    past: tuple[str, ...] = ()
    for index, (name, recipe) in enumerate(runs):
        before = f"{storage.rstrip('/')}/{runs[index - 1][0]}" if index else ""
        follows = bool(before) and recipe.start_from == before
        if follows:
            recipe = replace(recipe, start_from=f"{storage.rstrip('/')}/{shared[-1][0]}")
            past = (*past, replace(recipe, start_from="").fingerprint)
        else:
            past = (recipe.fingerprint,)
        shared.append((names.setdefault(past, name), recipe))
    return tuple(shared)


def _unknown(what: str, name: str, known: Sequence[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
    return ConfigError(f"the table has no {what} {name!r}", hint)
