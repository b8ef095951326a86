"""Runs are compared as far as they can be, and what cannot be compared is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raylift.core.errors import ConfigError
from raylift.evaluation.comparison.paired import ONE_SEED
from raylift.evaluation.comparison.runs import compare_runs
from raylift.runs.comparison_page import comparison_page
from raylift.tracking.reading import TrackedRun


def run_of(name: str, shift: float = 0.0, **more: Any) -> TrackedRun:
    """A run that was scored on eight objects which differ far more than runs do."""
    rows = [
        {"method": "model", "id": f"chair{index}#0", "category": "chairs", "ifnet/iou": 0.1 * index + shift,
         "occnet/chamfer_l1": 0.01 * index - 0.01 * shift}
        for index in range(8)
    ]  # fmt: skip
    run = TrackedRun(
        run_id=name,
        name=name,
        status="FINISHED",
        params={"seed": "0", "model.hidden": "32", "optimizers.default.learning_rate": "0.002"},
        tags={"model": "implicit", "data.fingerprint": "d1", "git.revision": "abc"},
        curves={"val/iou": ((1, 0.1), (2, 0.2)), "loss/total": ((1, 2.0), (2, 1.0)), "epoch": ((1, 0.0), (2, 0.0))},
        scores={"test": rows},
        data={"training": "d1", "test": "d1"},
    )
    return replace(run, **more)


def test_differences_are_paired_against_the_first_run() -> None:
    found = compare_runs([run_of("a"), run_of("b", 0.05), run_of("c", -0.05)])
    assert (found.split, found.shares_objects, found.notes) == ("test", True, ())
    iou, distance = found.scores
    assert iou.gains[0] is None
    assert iou.gains[1] is not None
    assert iou.gains[1].mean == pytest.approx(0.05)
    # Lower distances are better: gains count upwards all the same.
    assert [gain and gain.mean > 0 for gain in distance.gains] == [None, True, False]
    assert list(found.curves) == ["val/iou", "loss/total", "epoch"]


def test_only_values_that_differ_are_shown() -> None:
    other = run_of("b", params={"seed": "1", "model.hidden": "32", "new": "x"})
    assert compare_runs([run_of("a"), other]).params == {
        "seed": ("0", "1"), "optimizers.default.learning_rate": ("0.002", ""), "new": ("", "x")
    }  # fmt: skip


def test_runs_of_other_data_have_no_differences() -> None:
    other = run_of("b", 0.05, data={"training": "d2", "test": "d2"})
    found = compare_runs([run_of("a"), other])
    assert not found.shares_objects
    assert found.scores[0].gains == (None, None)
    assert found.scores[0].means[1] is not None
    assert [note.split(":")[0] for note in found.notes] == [
        "Trained on different data", "Measured on different data (test)"
    ]  # fmt: skip
    # Trained on other data, but measured on the same: objects pair.
    shared = compare_runs([run_of("a"), run_of("b", 0.05, data={"training": "d2", "test": "d1"})])
    assert shared.scores[0].gains[1] is not None
    assert [note.split(":")[0] for note in shared.notes] == ["Trained on different data"]


def test_a_run_that_was_not_measured_takes_nothing_from_the_others() -> None:
    idle = run_of("c", scores={}, data={"training": "d2"})
    found = compare_runs([run_of("a"), run_of("b", 0.05), idle])
    assert found.shares_objects
    assert [gain is not None for gain in found.scores[0].gains] == [False, True, False]
    assert found.scores[0].means[2] is None
    assert [note.split(":")[0] for note in found.notes] == ["Trained on different data", "Not evaluated on test"]


def test_runs_that_were_measured_differently_have_no_differences() -> None:
    def measured(name: str, shift: float, how: str) -> TrackedRun:
        return run_of(name, shift, tags={**run_of(name).tags, "evaluation.test.how": how})

    found = compare_runs([measured("a", 0.0, "64 cells, 1 views"), measured("b", 0.05, "32 cells, 1 views")])
    assert found.shares_objects, "their meshes are of the same objects"
    assert found.scores[0].gains == (None, None)
    assert "Measured differently (test): a: 64 cells, 1 views, b: 32 cells, 1 views" in found.notes[0]
    alike = compare_runs([measured("a", 0.0, "64 cells, 1 views"), measured("b", 0.05, "64 cells, 1 views")])
    assert (alike.scores[0].gains[1] is not None, alike.notes) == (True, ())
    assert compare_runs([run_of("a"), measured("b", 0.05, "64 cells, 1 views")]).notes == (), "one does not say"


def test_runs_of_different_models_share_protocols_alone() -> None:
    other = run_of("b", 0.05, tags={"model": "mesh_texture"}, params={"seed": "1", "model.image_px": "64"})
    found = compare_runs([run_of("a"), other])
    assert "Different models: a: implicit, b: mesh_texture" in found.notes[0]
    assert found.scores[0].gains[1] is not None
    assert "loss/total" not in found.curves
    assert list(found.params) == ["seed", "optimizers.default.learning_rate"]


def test_nothing_in_common_is_an_error() -> None:
    other = run_of("b", tags={"model": "mesh_texture"}, scores={}, curves={"val/ssim": ((1, 0.1), (2, 0.2))})
    with pytest.raises(ConfigError, match=r"nothing in these runs can be compared: a: implicit, b: mesh_texture"):
        compare_runs([run_of("a"), other])


@pytest.mark.parametrize("names", [["a"], ["a", "a"], []])
def test_two_different_runs_are_wanted(names: list[str]) -> None:
    with pytest.raises(ConfigError, match="two or more different runs"):
        compare_runs([run_of(name) for name in names])


def test_what_is_missing_is_said() -> None:
    unmeasured = run_of("b", scores={}, status="RUNNING")
    found = compare_runs([run_of("a"), unmeasured])
    assert (found.split, found.scores) == ("", ())
    assert "No split was evaluated for two runs" in found.notes[0]
    assert "b is running" in found.notes[1]
    three = compare_runs([run_of("a"), unmeasured, run_of("c")])
    assert "Not evaluated on test: b." in three.notes
    assert three.scores[0].means[1] is None


def test_the_page_gives_gains_and_no_verdict_since_each_run_is_one_training() -> None:
    page = comparison_page(compare_runs([run_of("a"), run_of("b", 0.05)]))
    (scores,) = (table for table in page.tables if table.title == "Scores on test")
    gains = [row[3] for row in scores.rows]
    assert [gain.text for gain in gains] == ["+0.05 [+0.05, +0.05]", "+0.005 [+0.005, +0.005]"]
    assert {(gain.tone, gain.hint) for gain in gains} == {("unsure", f"undecided ({ONE_SEED}), over 8 objects")}
