"""Records outlive whoever wrote them, and results follow from them alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raylift.models import catalogue
from raylift.sweeps.config import Metric
from raylift.sweeps.plots import draw_plots
from raylift.sweeps.proposals import open_proposals
from raylift.sweeps.records import End, Generation, SweepFolder
from raylift.sweeps.results import best_recipe, best_trial, importances, pareto_front, ranked, trial_rows
from raylift.sweeps.trial_recipes import base_recipe, base_values
from tests.sweeps.sweeps import make_sweep, make_trial

IOU = Metric("val/iou")


def test_a_trial_is_pieced_together_from_its_files(tmp_path: Path) -> None:
    folder = SweepFolder(str(tmp_path))
    values = {"model.conditioning.kind": "image", "optimizers.default.betas": (0.5, 0.9)}
    folder.plan(0, values)
    assert folder.trial(0).end == End("unfinished")
    told = replace(
        make_trial(0, values, 0.2, 0.4), generations=(Generation("trial-000", values),), seconds=9.0, steps=20
    )
    folder.tell(0, told)
    folder.close(0, End("stopped", "scheduler: x"))
    assert folder.trial(0) == replace(told, end=End("stopped", "scheduler: x"))
    folder.tell(0, told, End("finished"))
    assert folder.trial(0).end == End("finished"), "the trial knows better than who watched it"
    folder.reopen(0)
    assert folder.trial(0).end == End("unfinished")
    folder.plan(12, {})
    assert [trial.number for trial in folder.trials()] == [0, 12]
    assert (tmp_path / "records" / "trial-012.plan.json").exists()


def test_scores_rank_trials_and_the_direction_counts() -> None:
    trials = [make_trial(0, {}, 0.1, 0.5, 0.3), make_trial(1, {}, 0.6), make_trial(2, {}), make_trial(3, {}, 0.5)]
    assert trials[0].score(IOU) == 0.5
    assert [trial.number for trial in ranked(trials, [IOU])] == [1, 0, 3, 2]
    lower = Metric("val/iou", "min")
    assert [trial.number for trial in ranked(trials, [lower])] == [0, 3, 1, 2]
    best = best_trial(trials, [IOU])
    assert best is not None
    assert best.number == 1
    assert best_trial([make_trial(0, {})], [IOU]) is None
    assert make_trial(0, {}, float("nan"), 0.3).score(IOU) == 0.3


def test_the_front_has_all_that_nothing_beats() -> None:
    metrics = [IOU, Metric("val/error", "min")]
    points = [(0.9, 5.0), (0.5, 1.0), (0.7, 2.0), (0.6, 2.0), (0.9, 6.0), (0.5, 1.0)]
    trials = [make_trial(number, {}, first, **{"val/error": second}) for number, (first, second) in enumerate(points)]
    assert [trial.number for trial in pareto_front(trials, metrics)] == [0, 2, 1, 5]


def test_the_best_recipe_is_one_that_train_takes(tmp_path: Path) -> None:
    sweep = make_sweep()
    base = base_recipe(sweep)
    path = tmp_path / "best.json"
    values = {"model.fourier.scale": 3.0, "model.fourier.size": 0}
    path.write_text(best_recipe(base, make_trial(0, values, 0.5)).to_json())
    recipe = catalogue.get(str(path), ["seed=4"])
    assert (recipe.model.fourier.scale, recipe.model.fourier.size, recipe.seed) == (3.0, 0, 4)
    after = replace(
        make_trial(0, values, 0.5), generations=(Generation("a", values), Generation("b", {"seed": 7}, 2, 10))
    )
    assert best_recipe(base, after).seed == 7, "a population's trial ends with other values than it began with"


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_proposals_begin_with_the_recipe_and_stay_in_the_space(kind: str) -> None:
    sweep = make_sweep(searcher={"kind": kind, "random_first": 3}, budget={"trials": 8})
    base = base_values(base_recipe(sweep))
    proposals = open_proposals(sweep, base)
    for number in range(8):
        values = proposals.propose(number)
        assert values is not None
        assert all(sweep.space.dimensions[path].contains(value) for path, value in values.items())
        assert ("optimizers.default.weight_decay" in values) == (values["model.fourier.size"] == 16)
        if number == 0:
            assert values == {path: base[path] for path in sweep.space.dimensions}
        proposals.tell(make_trial(number, values, 0.1 * number) if number != 2 else make_trial(2, values))


@pytest.mark.parametrize("own_first", [True, False])
def test_a_random_search_takes_every_cell_of_a_grid_dimension(own_first: bool) -> None:
    space = {"model.fourier.size": {"kind": "grid", "values": [0, 8, 16]}, "seed": {"kind": "grid", "values": [0, 1]}}
    sweep = make_sweep(space=space, searcher={"own_first": own_first}, budget={"trials": 7})
    proposals = open_proposals(sweep, {"model.fourier.size": 16, "seed": 0})
    proposed = [proposals.propose(number) or {} for number in range(7)]
    drawn = proposed[own_first:][:6]
    assert {(values["model.fourier.size"], values["seed"]) for values in drawn} == {
        (size, seed) for size in (0, 8, 16) for seed in (0, 1)
    }
    if own_first:
        assert proposed[0] == {"model.fourier.size": 16, "seed": 0}


def test_a_grid_ends() -> None:
    sweep = make_sweep(searcher={"kind": "grid"}, budget={}, space={"seed": {"kind": "grid", "values": [1, 2]}})
    proposals = open_proposals(sweep, base_values(base_recipe(sweep)))
    assert [proposals.propose(number) for number in range(3)] == [{"seed": 1}, {"seed": 2}, None]


def test_tpe_learns_from_the_trials_of_an_earlier_command() -> None:
    sweep = make_sweep(
        searcher={"kind": "tpe", "random_first": 4, "own_first": False},
        space={"model.fourier.scale": {"kind": "log_uniform", "low": 0.01, "high": 100.0}},
    )
    base = base_values(base_recipe(sweep))
    ended = []
    for number in range(30):
        value = 10 ** (-2 + 4 * number / 29)
        ended.append(make_trial(number, {"model.fourier.scale": value}, -abs(number - 22)))
    proposals = open_proposals(sweep, base, ended)
    proposed = [proposals.propose(30 + index) or {} for index in range(8)]
    near = [0.3 < values["model.fourier.scale"] / ended[22].values["model.fourier.scale"] < 3 for values in proposed]
    assert sum(near) >= 6


@pytest.mark.parametrize("num_waiting", [0, 1])
def test_tpe_draws_nothing_again_that_an_earlier_command_has_drawn(num_waiting: int) -> None:
    sweep = make_sweep(searcher={"kind": "tpe", "random_first": 20, "own_first": False}, budget={"trials": 8})
    base = base_values(base_recipe(sweep))

    def scales(numbers: range, *known: Any) -> list[float]:
        proposals = open_proposals(sweep, base, *known)
        return [(proposals.propose(number) or {})["model.fourier.scale"] for number in numbers]

    first = scales(range(4))
    assert scales(range(4)) == first, "the first command's follow from the seed"
    ended = [make_trial(number, {"model.fourier.scale": first[number]}, 0.5) for number in range(4 - num_waiting)]
    assert not set(scales(range(4, 8), ended, num_waiting)) & set(first)


def test_importance_finds_what_mattered() -> None:
    sweep = make_sweep(
        space={
            "model.weights.sdf": {"kind": "uniform", "low": 0.0, "high": 1.0},
            "model.weights.color": {"kind": "uniform", "low": 0.0, "high": 1.0},
        }
    )
    base = base_values(base_recipe(sweep))
    trials = []
    for number in range(24):
        values = sweep.space.draw(base, 0, number)
        trials.append(make_trial(number, values, values["model.weights.sdf"] ** 2))
    found = importances(sweep.space, trials, IOU)
    assert found["model.weights.sdf"] > 0.9
    assert importances(sweep.space, trials[:2], IOU) == {}
    assert importances(sweep.space, [make_trial(n, trials[n].values, 1.0) for n in range(9)], IOU) == {}


def test_plots_and_tables_of_trials_that_ended_in_every_way() -> None:
    sweep = make_sweep(metrics=[{"name": "val/iou"}, {"name": "val/error", "direction": "min"}])
    base = base_values(base_recipe(sweep))
    trials = []
    for number in range(8):
        values = sweep.space.draw(base, 0, number)
        trials.append(make_trial(number, values, 0.1, 0.1 * number, **{"val/error": 1.0 / (number + 1)}))
    trials.append(make_trial(8, sweep.space.draw(base, 0, 8), status="failed"))
    pictures = draw_plots(sweep, trials)
    assert set(pictures) == {"parameters.png", "parallel.png", "progress.png", "importance.png", "front.png"}
    assert all(content.startswith(b"\x89PNG") and len(content) > 8000 for content in pictures.values())
    rows = trial_rows(trials, sweep)
    assert rows[0]["trial"] == "trial-007"
    assert rows[-1]["status"] == "failed"
    assert rows[-1]["val/iou"] is None
    json.dumps(rows, allow_nan=False)
    assert draw_plots(sweep, trials[8:]) == {}
