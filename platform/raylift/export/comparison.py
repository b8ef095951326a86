"""One self-contained HTML page that compares runs side by side: tables, curves, and meshes of the same objects."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from raylift.export.viewer import MAX_BYTES, ViewerRow, describe_rows, embed, read_web, write_page

MAX_POINTS = 400
"""Points per line; longer curves are subsampled evenly, and always show the last point."""

Tone = Literal["", "better", "worse", "unsure", "quiet"]


@dataclass(frozen=True)
class TableCell:
    """A cell of a table.

    Attributes:
        tone: display style.
        hint: tooltip.
    """

    text: str
    tone: Tone = ""
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: column headings; the first column names the rows.
        rows: cells, each row as long as the head.
        note: text below the table.
        line: for each column, the number of its run, which sets the colour; -1 for none.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    note: str = ""
    line: Sequence[int] = ()


@dataclass(frozen=True)
class ChartLine:
    """A curve of one run.

    Attributes:
        run: number of the run, which sets the colour.
        points: (step, value), by step.
    """

    label: str
    run: int
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """Curves of one metric."""

    title: str
    lines: Sequence[ChartLine]


@dataclass(frozen=True)
class ComparisonPage:
    """What the page shows.

    Attributes:
        notes: what readers must know, shown first.
        runs: names of the runs, in the order of their colours.
        rows: rows of meshes side by side.
    """

    title: str
    subtitle: str
    notes: Sequence[str] = ()
    runs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    rows: Sequence[ViewerRow] = ()


def write_comparison(page: ComparisonPage, path: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Write the page: no other file, no network, no storage, like ``export.viewer.write_viewer``.

    Raises:
        DataError: it would be too large, or writing fails.
    """
    return write_page(lambda max_faces: render_comparison(page, max_faces), path, len(page.rows), max_bytes)


def render_comparison(page: ComparisonPage, max_faces: int = 400_000) -> str:
    """The page as text."""
    data = {
        "subtitle": page.subtitle,
        "rows": describe_rows(page.rows, max_faces),
        "charts": [
            {
                "title": chart.title,
                "lines": [
                    {"label": line.label, "run": line.run, "points": thin_points(line.points)} for line in chart.lines
                ],
            }
            for chart in page.charts
        ],
    }
    return Template(read_web("comparison.html")).substitute(
        title=html.escape(page.title),
        style=read_web("viewer.css") + read_web("comparison.css"),
        notes="".join(f"<li>{html.escape(note)}</li>" for note in page.notes),
        has_notes="" if page.notes else "hidden",
        legend="".join(f'<li class="run-{run % 8}">{html.escape(name)}</li>' for run, name in enumerate(page.runs)),
        tables="".join(_render_table(table) for table in page.tables),
        has_charts="" if page.charts else "hidden",
        has_meshes="" if page.rows else "hidden",
        data=embed(data),
        charts_script=read_web("comparison.js"),
        meshes_script=read_web("viewer.js"),
    )


def thin_points(points: Sequence[tuple[int, float]], count: int = MAX_POINTS) -> list[tuple[int, float]]:
    """At most ``count`` of a curve's finite points, evenly spaced, including the first and the last."""
    finite = [(step, float(value)) for step, value in points if abs(value) < float("inf")]
    if len(finite) <= count:
        return finite
    return [finite[round(index * (len(finite) - 1) / (count - 1))] for index in range(count)]


def _render_table(table: Table) -> str:
    line = table.line or [-1] * len(table.head)
    head = "".join(
        f'<th scope="col"{f" class=run-{run % 8}" if run >= 0 else ""}>{html.escape(name)}</th>'
        for name, run in zip(table.head, line, strict=True)
    )
    rows = "".join("<tr>" + "".join(_render_cell(cell, number) for number, cell in enumerate(row)) + "</tr>"
                   for row in table.rows)  # fmt: skip
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f'<section><h2>{html.escape(table.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{note}</section>"
    )


def _render_cell(cell: TableCell, number: int) -> str:
    tone = f' class="{cell.tone}"' if cell.tone else ""
    hint = f' title="{html.escape(cell.hint)}"' if cell.hint else ""
    kind = 'th scope="row"' if number == 0 else "td"
    return f"<{kind}{tone}{hint}>{html.escape(cell.text)}</{kind.split()[0]}>"
