"""A table's results as printable tables, and as a page with curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raylift.evaluation.comparison.paired import CONFIDENCE, ONE_SEED
from raylift.evaluation.report import MODEL_METHOD, metric_spec
from raylift.export.comparison import Chart, ChartLine, ComparisonPage, Table, TableCell, Tone
from raylift.tables.paper_table import Claim, PaperTable
from raylift.tables.results import ClaimResult, RowResult, baseline_methods, baseline_objects, cell

INTERRUPTED = "interrupted: its total time was not measured"

_TONES: dict[str, Tone] = {"confirmed": "better", "refuted": "worse", "undecided": "unsure"}


def table_page(table: PaperTable, results: Mapping[str, RowResult], claims: Sequence[ClaimResult]) -> ComparisonPage:
    """The page of a table: figures next to the paper's, claims, and curves of every row and seed."""
    names = [row.name for row in table.rows if row.name in results]
    charts = []
    for metric in table.curves:
        lines = [
            ChartLine(f"{name}, seed {seed}", run, found[metric])
            for run, name in enumerate(names)
            for seed, found in results[name].curves.items()
            if found.get(metric)
        ]
        charts += [Chart(metric, lines)] if lines else []
    return ComparisonPage(
        title=table.title,
        subtitle=table.source,
        notes=_notes(table, results),
        runs=names,
        tables=[scores_table(table, results), *([claims_table(claims)] if claims else [])],
        charts=charts,
    )


def scores_table(table: PaperTable, results: Mapping[str, RowResult]) -> Table:
    """Our mean, spread over seeds and (median) next to the paper's, by row; baselines and quoted rows below."""
    head, rows = [""], []
    for column in table.columns:
        spec = metric_spec(column.metric)
        factor = f" x{spec.printed_factor:g}" if spec.printed_factor != 1 else ""
        head += [f"{column.metric}{factor} {'↑' if spec.higher_is_better else '↓'}", "paper"]
    for row in table.rows:
        if row.name in results:
            rows.append([*_cells(table, results[row.name], MODEL_METHOD, row.name), _minutes(results[row.name])])
    for method in baseline_methods(results):
        for names in _rows_alike(table, results, method):
            alone = len(names) == sum(row.name in results for row in table.rows)
            of = "" if alone else f" ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
            label = f"baseline: {method.replace('_', ' ')}{of}"
            rows.append([*_cells(table, results[names[0]], method, label), TableCell("")])
    for quoted in table.quoted:
        cells = [TableCell(f"quoted: {quoted.name}", "quiet", quoted.note)]
        for column in table.columns:
            factor_of = metric_spec(column.metric).printed_factor
            figure = quoted.paper.get(column.metric)
            cells += [TableCell(""), TableCell("" if figure is None else f"{factor_of * figure:.4g}", "quiet")]
        rows.append([*cells, TableCell("")])
    protocols = "; ".join(f"{column.metric}: {column.paper}" for column in table.columns if column.paper)
    note = (
        f"Mean ± standard deviation of the seeds' means (median over objects). The paper's: {protocols or 'unknown'}."
    )
    return Table("Scores on held-out objects", [*head, "minutes"], rows, note)


def _rows_alike(table: PaperTable, results: Mapping[str, RowResult], method: str) -> list[list[str]]:
    """Names of the rows that have a baseline, those with the same values together."""
    columns = [column.metric for column in table.columns]
    found = {metric: baseline_objects(table, results, method, metric) for metric in columns}
    groups: list[tuple[list[dict[str, float] | None], list[str]]] = []
    for row in table.rows:
        values = [found[metric].get(row.name) for metric in columns]
        if not any(values):
            continue
        alike = next((names for others, names in groups if others == values), None)
        if alike is None:
            groups.append((values, [row.name]))
        else:
            alike.append(row.name)
    return [names for _, names in groups]


def claims_table(claims: Sequence[ClaimResult]) -> Table:
    """Every claimed direction, whether our runs confirm it, and by how much."""
    rows = []
    for one in claims:
        if one.gain is None:
            gain, units = "", ""
        else:
            factor = metric_spec(one.claim.metric).printed_factor if one.claim.by == "score" else 1.0
            gain = f"{factor * one.gain.mean:+.3g} [{factor * one.gain.low:+.3g}, {factor * one.gain.high:+.3g}]"
            units = f"{one.gain.num_objects} x {one.gain.num_seeds}"
            if one.claim.by == "steps":
                units = f"{one.gain.num_seeds} seeds"
        paper = ""
        if one.paper_gain is not None:
            paper = f"{metric_spec(one.claim.metric).printed_factor * one.paper_gain:+.3g}"
        tone = _TONES[one.verdict]
        rows.append(
            [TableCell(claim_text(one.claim), "", one.claim.says), TableCell(_verdict_text(one), tone, one.why),
             TableCell(gain, tone), TableCell(paper, "quiet"), TableCell(units), TableCell(one.why, "quiet")]
        )  # fmt: skip
    head = ["direction", "our runs", "better by", "paper's", "objects x seeds", "why"]
    return Table("Directions", head, rows, _claims_note(claims))


def claim_text(claim: Claim) -> str:
    """Such as ``GT-SDF over GT-OCC on ifnet/iou``."""
    how = "sooner on" if claim.by == "steps" else "on"
    return f"{claim.better} over {claim.than} {how} {claim.metric}"


def _verdict_text(one: ClaimResult) -> str:
    return f"{one.verdict} ({ONE_SEED})" if one.why == ONE_SEED else one.verdict


def _claims_note(claims: Sequence[ClaimResult]) -> str:
    note = (
        f"Differences are paired over objects and seeds, with {CONFIDENCE:.0%} bootstrap intervals; a direction is"
        " confirmed or refuted when its interval excludes 0. Intervals are not corrected for multiple comparisons."
    )
    if any(one.why == ONE_SEED for one in claims):
        note += " With one seed they cover other objects, not another training run: such a direction stays undecided."
    if any(one.claim.by == "steps" for one in claims):
        note += " Steps: the fraction of the run saved in reaching the level that both reach, one pair per seed."
    return note


def _cells(table: PaperTable, result: RowResult, method: str, name: str) -> list[TableCell]:
    own = method == MODEL_METHOD
    cells = [TableCell(name, "" if own else "quiet", result.row.note if own else "")]
    for column in table.columns:
        found, factor = cell(result, column.metric, method), metric_spec(column.metric).printed_factor
        cells.append(TableCell("-" if found is None else found.text(factor), "" if own else "quiet"))
        printed = found.paper_text(factor) if found else ""
        if found is None and own and column.metric in result.row.paper:
            printed = f"{factor * result.row.paper[column.metric]:.4g}"
        cells.append(TableCell(printed, "quiet"))
    return cells


def _minutes(result: RowResult) -> TableCell:
    if not result.minutes:
        return TableCell("-", "quiet", "; ".join(result.problems.values()) or INTERRUPTED)
    return TableCell(f"{sum(result.minutes.values()) / len(result.minutes):.1f}")


def _notes(table: PaperTable, results: Mapping[str, RowResult]) -> list[str]:
    notes = [f"{row.name}: {row.note}" for row in table.rows if row.note and row.name in results]
    notes += [f"{quoted.name} (quoted): {quoted.note}" for quoted in table.quoted if quoted.note]
    missing = [row.name for row in table.rows if row.name not in results]
    notes += [f"Not run: {', '.join(missing)}."] if missing else []
    for name, result in results.items():
        notes += [f"{name}, seed {seed}, did not finish: {why}" for seed, why in result.problems.items()]
    return notes
