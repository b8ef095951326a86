"""Tables are read strictly, their runs are planned once each, and their directions claims as the scores say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raylift.core.errors import ConfigError
from raylift.evaluation.comparison.paired import ONE_SEED
from raylift.runs.table_page import INTERRUPTED, claims_table, scores_table
from raylift.runs.table_runs import gather
from raylift.tables.paper_table import PaperTable, TableRow, by_points, load_table, plan_table
from raylift.tables.results import RowResult, cell, evaluate_claims, rows_of, score_rows

TABLES = sorted((Path(__file__).parents[2] / "tuning" / "tables").glob("*.json"))
NUM_OBJECTS = 8


def written(path: Path, **changes: Any) -> Path:
    content = {
        "title": "Two rows",
        "source": "a paper",
        "recipe": "implicit/test",
        "data": "shapes",
        "columns": [{"metric": "ifnet/iou"}, {"metric": "ifnet/chamfer_l2"}],
        "curves": ["val/iou"],
        "seeds": [0, 1],
        "rows": [
            {"name": "Voxels", "overrides": ["model.conditioning.kind=gt_sdf"], "paper": {"ifnet/iou": 0.9}},
            {"name": "Image only", "overrides": ["model.conditioning.kind=image"], "paper": {"ifnet/iou": 0.7}},
        ],
        "claims": [{"better": "Voxels", "than": "Image only", "metric": "ifnet/iou"}],
    }
    place = path / "two.json"
    place.write_text(json.dumps({name: value for name, value in {**content, **changes}.items() if value is not None}))
    return place


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [{"name": "a", "overides": []}]}, r"no .rows\[0\].overides(.|\n)*mean .rows\[0\].overrides"),
        ({"clams": []}, "no 'clams'(.|\n)*did you mean 'claims'"),
        ({"seeds": ["one"]}, r"seeds\[0\] is 'one'(.|\n)*whole number"),
        ({"seeds": [1, 1]}, r"seeds are \[1, 1\]"),
        ({"rows": []}, "no rows"),
        ({"title": None}, "title is missing"),
        ({"data": "movies"}, "data is 'movies'(.|\n)*'shapes', 'images'"),
        (
            {"claims": [{"better": "Voxels", "than": "Image", "metric": "ifnet/iou"}]},
            "no row for a claim, 'Image'(.|\n)*did you mean 'Image only'",
        ),
        (
            {"claims": [{"better": "Voxels", "than": "Image only", "metric": "ifnet/io"}]},
            "no metric 'ifnet/io'(.|\n)*did you mean 'ifnet/iou'",
        ),
        (
            {"claims": [{"better": "Voxels", "than": "Image only", "metric": "val/ssim", "by": "steps"}]},
            r"no curves of .val/ssim(.|\n)*val/iou",
        ),
        ({"columns": [{"metric": "ifnet/iuo"}]}, "no metric 'ifnet/iuo'"),
        ({"columns": [{"metric": "ifnet/chamfer_l2"}]}, "paper's figure of row 'Voxels', 'ifnet/iou'"),
        ({"rows": [{"name": "a"}, {"name": "A!"}], "claims": []}, "row 'A!' would share its folder 'a'"),
        ({"rows": [{"name": "a", "overrides": ["seed=3"]}], "claims": []}, "row 'a' sets seed"),
        ({"rows": [{"name": "a", "overrides": ["evaluation.resolution=64"]}], "claims": []}, "sets evaluation"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_table(written(tmp_path, **changes))
    assert "two.json" in caught.value.problem


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(ConfigError, match="t.json: invalid JSON"):
        load_table(tmp_path / "t.json")
    with pytest.raises(ConfigError, match="cannot read the table"):
        load_table(tmp_path / "none.json")


def test_a_row_whose_recipe_cannot_be_is_named_before_anything_trains(tmp_path: Path) -> None:
    rows = [{"name": "good"}, {"name": "bad", "overrides": ["model.wieghts.sdf=5"]}]
    table = load_table(written(tmp_path, rows=rows, claims=[]))
    with pytest.raises(ConfigError, match=r"row 'bad': there is no 'model.wieghts.sdf'"):
        plan_table(table, "two", "runs")


def test_runs_are_planned_seed_by_seed(tmp_path: Path) -> None:
    planned = plan_table(load_table(written(tmp_path)), "two", "runs", ("schedule.num_steps=3",))
    assert [one.name for one in planned] == [
        "two.voxels.seed0", "two.image-only.seed0", "two.voxels.seed1", "two.image-only.seed1"
    ]  # fmt: skip
    _, recipe = planned[3].runs[-1]
    assert (recipe.seed, recipe.schedule.num_steps, recipe.model.conditioning.kind) == (1, 3, "image")
    assert [one.seed for one in plan_table(load_table(written(tmp_path)), "two", "runs", (), (7,))] == [7, 7]


@pytest.mark.parametrize("size", ["quick", "paper"])
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_papers_tables_can_all_be_run(path: Path, size: str) -> None:
    from tests.scripts import load_script

    table = load_script("tuning", "paper_table").resized(load_table(path), size)
    planned = plan_table(table, path.stem, "/runs", ())
    assert len(planned) == len(table.rows) * len(table.seeds)
    assert all(size in recipe.name for one in planned for _, recipe in one.runs)
    # No two rows are the same model under two names.
    assert len({(one.runs[-1][0], one.seed) for one in planned}) == len(planned)
    assert table.claims


def test_stages_that_rows_share_are_trained_once() -> None:
    (path,) = (path for path in TABLES if path.stem == "mesh_texture_ablation")
    table = load_table(path)
    planned = [one for one in plan_table(table, "ablation", "/runs") if one.seed == 0]
    assert {one.runs[0][0] for one in planned} == {"ablation.both.seed0.stage1"}
    assert len({one.runs[1][0] for one in planned}) == 5
    assert {one.runs[1][1].start_from for one in planned} == {"/runs/ablation.both.seed0.stage1"}
    models = {one.row.name: one.runs[1][1].model for one in planned}
    # A row without D_var keeps 31's and 32's terms, and I_var within a thousandth of 1: all else is equal.
    assert all(model.variance.enabled for name, model in models.items() if name != "no steps")
    switches = {name: (model.variance.limit > 1.01, model.weights.frechet > 0) for name, model in models.items()}
    assert switches == {
        "both": (True, True),
        "D_var alone": (True, False),
        "Frechet alone": (False, True),
        "neither": (False, False),
        "no steps": (True, False),
    }
    free = models["no steps"]
    assert not free.variance.enabled
    kept = models["neither"].weights
    assert free.weights.align == kept.align + kept.pseudo_label
    assert free.weights.reconstruction == kept.reconstruction + kept.searched


def test_symmetry_rows_differ_by_nothing_but_the_group() -> None:
    from raylift.networks.volumes.decoder import build_decoder

    (path,) = (path for path in TABLES if path.stem == "shelf_symmetry_turned")
    table = load_table(path)
    models = {one.row.name: one.runs[-1][1].model for one in plan_table(table, path.stem, "/runs", (), (0,))}
    plain = models["no group"]
    assert (plain.camera.trained_by, plain.volume.group, plain.volume.symmetric) == ("known", "none", False)
    counts = {}
    for name, model in models.items():
        alone = replace(model.volume, group=plain.volume.group, symmetric=plain.volume.symmetric)
        assert replace(model, volume=alone) == plain
        counts[name] = sum(one.numel() for one in build_decoder(model.volume, model.encoder.latent).parameters())
    assert {models[name].volume.group for name in models} == {"none", "mirror", "c4v", "o", "oh"}
    assert max(counts.values()) < 1.03 * min(counts.values()), counts
    # One image does not tell how its object was turned, so nothing is judged in the world's frame.
    assert {claim.metric.partition("/")[0] for claim in table.claims} <= {"unseen", "unicorn"}


def result(row: TableRow, shift: float, seeds: tuple[int, ...] = (0, 1), **more: Any) -> RowResult:
    """Scores that differ from object to object far more than from row to row."""
    scores = {
        seed: {
            "objects": [
                {
                    "method": method,
                    "id": f"chair{index}#0",
                    "ifnet/iou": 0.1 * index + offset + 0.001 * ((index + seed) % 3),
                    "ifnet/chamfer_l2": 0.01 * index - 0.01 * offset,
                }
                for method, offset in (("model", shift), ("retrieval", 0.0), ("mean_shape", -0.2))
                for index in range(NUM_OBJECTS)
            ]
        }
        for seed in seeds
    }
    return RowResult(row, scores, **more)


def claims(tmp_path: Path, shifts: tuple[float, float], claims: list[dict[str, str]], **more: Any) -> list[str]:
    table: PaperTable = load_table(written(tmp_path, claims=claims))
    results = {row.name: result(row, shift, **more) for row, shift in zip(table.rows, shifts, strict=True)}
    return [one.verdict for one in evaluate_claims(table, results)]


def test_directions_are_confirmed_refuted_or_left_open(tmp_path: Path) -> None:
    claim = {"better": "Voxels", "than": "Image only", "metric": "ifnet/iou"}
    assert claims(tmp_path, (0.05, 0.0), [claim]) == ["confirmed"]
    assert claims(tmp_path, (0.0, 0.05), [claim]) == ["refuted"]
    assert claims(tmp_path, (0.0, 0.0), [claim]) == ["undecided"]
    # A distance is better when it is lower.
    lower = {**claim, "metric": "ifnet/chamfer_l2"}
    assert claims(tmp_path, (0.05, 0.0), [lower]) == ["confirmed"]
    against = {"better": "Image only", "than": "baseline:retrieval", "metric": "ifnet/iou"}
    assert claims(tmp_path, (0.05, -0.05), [against]) == ["refuted"]
    assert claims(tmp_path, (0.05, -0.05), [{**against, "than": "baseline:oracle"}]) == ["undecided"]


def test_one_training_decides_no_direction_but_two_baselines_can_be_compared(tmp_path: Path) -> None:
    rows = {"better": "Voxels", "than": "Image only", "metric": "ifnet/iou"}
    against = {"better": "Voxels", "than": "baseline:retrieval", "metric": "ifnet/iou"}
    baselines = {"better": "baseline:retrieval", "than": "baseline:mean_shape", "metric": "ifnet/iou"}
    table = load_table(written(tmp_path, claims=[rows, against, baselines]))
    assert claims(tmp_path, (0.05, -0.05), [rows, against, baselines]) == ["confirmed"] * 3
    found = evaluate_claims(
        table, {row.name: result(row, shift, (0,)) for row, shift in zip(table.rows, (0.05, -0.05), strict=True)}
    )
    assert [(one.verdict, one.why) for one in found] == [
        ("undecided", ONE_SEED), ("undecided", ONE_SEED), ("confirmed", "")
    ]  # fmt: skip
    assert [row[1].text for row in claims_table(found).rows] == [f"undecided ({ONE_SEED})"] * 2 + ["confirmed"]
    assert [one.gain.num_seeds for one in found if one.gain] == [1, 1, 1]


def test_a_baseline_is_known_from_any_row_that_was_measured(tmp_path: Path) -> None:
    claim = {"better": "Image only", "than": "baseline:retrieval", "metric": "ifnet/iou"}
    table = load_table(written(tmp_path, claims=[claim]))
    failed, good = table.rows
    rows = {failed.name: RowResult(failed, problems={0: "out of memory"}), good.name: result(good, 0.05)}
    assert good.name == "Image only"
    assert [one.verdict for one in evaluate_claims(table, rows)] == ["confirmed"]
    assert any("retrieval" in row[0].text for row in scores_table(table, rows).rows)


def test_minutes_of_a_run_that_was_interrupted_are_not_its_minutes(tmp_path: Path) -> None:
    table = load_table(written(tmp_path))
    planned = plan_table(table, "two", "runs")
    scores = result(table.rows[0], 0.0).scores[0]
    outcomes = {one.name: {"scores": scores, "minutes": None if one.seed else 3.0} for one in planned[::2]}
    rows = gather(planned, outcomes, {}, {})
    assert rows["Voxels"].minutes == {0: 3.0}
    outcomes = {one.name: {"scores": scores, "minutes": None} for one in planned[::2]}
    shown = scores_table(table, gather(planned, outcomes, {}, {}))
    assert (shown.rows[0][-1].text, shown.rows[0][-1].hint) == ("-", INTERRUPTED)


def test_gains_stand_beside_the_papers_and_reasons_beside_what_is_open(tmp_path: Path) -> None:
    table = load_table(written(tmp_path))
    one = evaluate_claims(
        table, {table.rows[0].name: result(table.rows[0], 0.1), table.rows[1].name: result(table.rows[1], 0.0)}
    )
    assert one[0].gain is not None
    assert one[0].gain.mean == pytest.approx(0.1)
    assert one[0].paper_gain == pytest.approx(0.2)
    (alone,) = evaluate_claims(table, {table.rows[0].name: result(table.rows[0], 0.1)})
    assert (alone.verdict, alone.why) == ("undecided", "not run, or not both")
    apart = {row.name: result(row, 0.1, (seed,)) for seed, row in enumerate(table.rows)}
    assert evaluate_claims(table, apart)[0].why == "no seed in common"
    assert rows_of(one)[0]["verdict"] == "confirmed"


def test_curves_are_judged_seed_by_seed(tmp_path: Path) -> None:
    claim = {"better": "Voxels", "than": "Image only", "metric": "val/iou", "by": "steps"}
    table = load_table(written(tmp_path, claims=[claim]))

    def rows(count: int) -> dict[str, RowResult]:
        fast = {seed: {"val/iou": [(10, 0.5), (20, 0.6 + 0.01 * seed)]} for seed in range(count)}
        slow = {seed: {"val/iou": [(10, 0.1), (20, 0.5)]} for seed in range(count)}
        return {row.name: RowResult(row, curves=curves) for row, curves in zip(table.rows, (fast, slow), strict=True)}

    (found,) = evaluate_claims(table, rows(5))
    assert found.verdict == "confirmed"
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(0.5)
    (few,) = evaluate_claims(table, rows(3))
    assert (few.verdict, few.why) == ("undecided", "3 seeds are too few to decide (5 at least)")
    (none,) = evaluate_claims(table, {row.name: RowResult(row) for row in table.rows})
    assert none.why == "not run, or not both"


def test_a_cell_has_mean_spread_and_median(tmp_path: Path) -> None:
    table = load_table(written(tmp_path))
    row = table.rows[0]
    found = cell(result(row, 0.1), "ifnet/iou")
    assert found is not None
    assert found.mean.mean == pytest.approx(0.1 * 3.5 + 0.1 + 0.001, abs=5e-4)
    assert found.spread is not None
    assert found.spread > 0
    assert found.paper == 0.9
    assert cell(result(row, 0.1, (0,)), "ifnet/iou").spread is None  # type: ignore[union-attr]
    assert cell(RowResult(row), "ifnet/iou") is None
    lines = score_rows(table, {row.name: result(row, 0.1)})
    assert [(line["row"], line["metric"], line["seeds"]) for line in lines] == [
        ("Voxels", "ifnet/iou", 2), ("Voxels", "ifnet/chamfer_l2", 2)
    ]  # fmt: skip


def test_a_table_by_points_keeps_claims_about_overlap_and_drops_what_needs_surfaces(tmp_path: Path) -> None:
    claims = [
        {"better": "Voxels", "than": "Image only", "metric": metric} for metric in ("ifnet/iou", "ifnet/chamfer_l2")
    ]
    table = by_points(load_table(written(tmp_path, claims=claims)))
    assert [column.metric for column in table.columns] == ["points/iou", "color/surface_l1"]
    assert [claim.metric for claim in table.claims] == ["points/iou"]
    assert table.rows[0].paper == {"points/iou": 0.9}
    _, recipe = plan_table(table, "two", "/runs")[0].runs[-1]
    assert recipe.evaluation.protocols == ("points",)


@pytest.mark.parametrize("place", TABLES, ids=lambda place: place.stem)
def test_every_table_of_shapes_can_be_judged_by_points(place: Path) -> None:
    table = load_table(place)
    if table.data == "shapes":
        assert by_points(table).claims
    else:
        with pytest.raises(ConfigError, match="omit --points"):
            by_points(table)


def test_overrides_of_a_stage_are_for_the_rows_that_have_it() -> None:
    table = load_table(next(place for place in TABLES if place.stem == "mesh_texture_1"))
    given = ("schedule.num_steps=60", "stage2:schedule.num_steps=20")
    steps = {
        one.row.name: [recipe.schedule.num_steps for _, recipe in one.runs]
        for one in plan_table(table, "one", "/runs", given, (0,))
    }
    assert steps["UMR"] == [60, 20]
    assert steps["UCMR"] == [60]
    with pytest.raises(ConfigError, match="'stage3'(.|\n)*stage1, stage2"):
        plan_table(table, "one", "/runs", ("stage3:schedule.num_steps=20",), (0,))


def test_a_baseline_is_that_of_the_row_that_it_is_compared_with(tmp_path: Path) -> None:
    """A grid, interpolated, is another answer where the model is given another grid."""
    claims = [
        {"better": name, "than": "baseline:retrieval", "metric": "ifnet/iou"} for name in ("Voxels", "Image only")
    ]
    table = load_table(written(tmp_path, claims=claims))
    results = {row.name: result(row, 0.0) for row in table.rows}
    for content in results["Voxels"].scores.values():
        for row in content["objects"]:
            row["ifnet/iou"] += 0.3 * (row["method"] == "retrieval") + 0.05 * (row["method"] == "model")
    for content in results["Image only"].scores.values():
        for row in content["objects"]:
            row["ifnet/iou"] += 0.05 * (row["method"] == "model")
    assert [one.verdict for one in evaluate_claims(table, results)] == ["refuted", "confirmed"]
    labels = [row[0].text for row in scores_table(table, results).rows if row[0].text.startswith("baseline")]
    assert labels == ["baseline: mean shape", "baseline: retrieval (Voxels)", "baseline: retrieval (Image only)"]
