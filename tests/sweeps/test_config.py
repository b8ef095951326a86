"""Sweeps as files: the ready ones are whole, and what is wrong is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.models import catalogue
from raylift.sweeps.config import from_dict, read_sweep
from raylift.sweeps.records import SweepFolder
from raylift.sweeps.trial_recipes import base_recipe, base_values, check_same_state, check_space, trial_recipe
from tests.sweeps.sweeps import SPACE, make_sweep

READY = sorted((Path(__file__).resolve().parents[2] / "tuning" / "sweeps").glob("*.json"))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_ready_sweeps_are_whole(path: Path) -> None:
    sweep = read_sweep(path)
    base = base_recipe(sweep)
    corners = sweep.space.corners(base_values(base))
    assert len(corners) > len(sweep.space.dimensions), "each dimension's ends, at least"
    assert len(check_space(sweep, base)) > len(corners), "and drawn ones"
    assert sweep.about
    assert from_dict(json.loads(json.dumps(sweep.to_dict()))) == sweep
    assert sweep.space.own(catalogue.tree.flatten(base)), "the recipe's own values are in the space, to be beaten"


def test_ready_sweeps_cover_what_they_should() -> None:
    searched = {path for file in READY for path in read_sweep(file).space.dimensions}
    assert {
        "model.fourier.scale", "model.fourier.size", "optimizers.default.learning_rate", "model.weights.sdf",
        "model.weights.mask", "model.weights.pseudo_label", "model.render.sigma", "model.render.gamma",
    } <= searched  # fmt: skip


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"model.wieghts.sdf": SPACE["model.fourier.scale"]}, r"did you mean 'model\.weights\.sdf'"),
        ({"model.fourier.size": {"kind": "uniform", "low": 8, "high": 64}}, "model.fourier.size is .*whole number"),
        ({"model.fourier.scale": {"kind": "uniform", "low": -1, "high": 1}}, "model.fourier.scale=-1.*positive"),
        ({"model.conditioning.kind": {"kind": "choice", "values": ["image", "vizible"]}}, "did you mean 'visible'"),
        ({"model": {"kind": "choice", "values": [1]}}, "model is a group of values"),
        ({"scale.workers": {"kind": "choice", "values": [1, 2]}}, "space.scale.workers cannot be searched"),
        ({"schedule.num_steps": {"kind": "choice", "values": [1, 2]}}, "cannot be searched"),
        ({"seed": {"kind": "choice", "values": [1], "when": {"model.voxel_stirde": [1]}}}, "model.voxel_stride"),
    ],
)
def test_a_dead_path_or_a_wrong_type_fails_before_the_first_trial(space: dict[str, Any], message: str) -> None:
    sweep = make_sweep(space=space)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        check_space(sweep, base_recipe(sweep))


def test_values_that_only_clash_together_are_found() -> None:
    space = {
        "model.sdf_range": {"kind": "choice", "values": [0.1, 1.0]},
        "model.truncation": {"kind": "choice", "values": [0.05, 0.5]},
    }
    sweep = make_sweep(space=space)
    with pytest.raises(ConfigError, match=r"model\.sdf_range=0\.1 model\.truncation=0\.5.*below the truncation"):
        check_space(sweep, base_recipe(sweep))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metrics": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}, "3 metrics"),
        ({"metrics": [{"name": "a"}, {"name": "b"}], "scheduler": {"kind": "asha"}}, "'asha' with two metrics"),
        ({"metrics": ["val/iou"]}, r"metrics\[0\]"),
        ({"metrics": [{"name": "a", "direction": "up"}]}, r"metrics\[0\]\.direction is 'up'"),
        ({"scheduler": {"kind": "ahsa"}}, "did you mean 'asha'"),
        ({"scheduler": {"kind": "pbt"}, "searcher": {"kind": "tpe"}}, "searcher 'tpe' with pbt"),
        ({"scheduler": {"kind": "pbt"}}, "pbt over a conditional dimension"),
        ({"searcher": {"kind": "tpe"}, "space": {"seed": {"kind": "grid", "values": [1]}}}, "tpe over a .* grid"),
        ({"budget": {}}, "budget.trials is 0"),
        ({"bugdet": {}}, "there is no 'bugdet'"),
        ({"budget": {"trails": 3}}, r"did you mean 'budget\.trials'"),
        ({"resources": {"gpus_per_worker": -1}}, "resources below 0"),
        ({"space": {}}, "space is empty"),
    ],
)
def test_what_is_no_sweep_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_sweep(**values)


def test_schedulers_need_evaluations_to_compare() -> None:
    with pytest.raises(ConfigError, match=r"first evaluated at 6(.|\n)*eval_every"):
        base_recipe(make_sweep(scheduler={"kind": "asha"}, budget={"trials": 2, "steps": 6}))
    with pytest.raises(ConfigError, match=r"grace_steps is 40 of 30"):
        base_recipe(make_sweep(scheduler={"kind": "asha", "grace_steps": 40}, budget={"trials": 2, "steps": 30}))
    with pytest.raises(ConfigError, match="counts epochs"):
        base_recipe(make_sweep(recipe="implicit/paper"))


def test_the_base_recipe_has_the_sweep_s_resources_steps_and_metric() -> None:
    resources = {"workers": 2, "cpus_per_worker": 0.5, "gpus_per_worker": 0.5}
    sweep = make_sweep(
        resources=resources, budget={"trials": 1, "steps": 30}, metrics=[{"name": "val/thickness", "direction": "min"}]
    )
    base = base_recipe(sweep)
    assert (base.scale.workers, base.scale.gpu, base.scale.gpus_per_worker) == (2, "always", 0.5)
    assert (base.schedule.num_steps, base.schedule.best_metric, base.schedule.best_is) == (30, "val/thickness", "min")
    assert trial_recipe(base, {"model.fourier.scale": 2.0}).model.fourier.scale == 2.0


def test_overrides_reach_the_recipe_and_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(make_sweep().to_dict()))
    sweep = read_sweep(path, ["model.hidden=16", "sweep:budget.trials=9", "sweep:searcher.kind=tpe"])
    assert base_recipe(sweep).model.hidden == 16
    assert (sweep.budget.trials, sweep.searcher.kind) == (9, "tpe")
    with pytest.raises(ConfigError, match="sweep:budget"):
        read_sweep(path, ["sweep:budget.trials"])
    with pytest.raises(ConfigError, match=r"budget\.trials is 'many'"):
        read_sweep(path, ["sweep:budget.trials=many"])
    with pytest.raises(ConfigError, match=r"cannot read the sweep(.|\n)*there are: mine"):
        read_sweep(tmp_path / "yours.json")
    path.write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_sweep(path)


def test_a_folder_of_another_sweep_is_refused_and_a_larger_budget_is_not(tmp_path: Path) -> None:
    folder = SweepFolder(str(tmp_path))
    folder.claim(make_sweep(), "/data", "abc")
    folder.claim(make_sweep(budget={"trials": 40, "minutes": 3}, title="renamed"), "/data", "abc")
    other = {**SPACE, "model.fourier.size": {"kind": "choice", "values": [0, 8]}}
    with pytest.raises(ConfigError, match=r"another sweep \(space\.model\.fourier\.size(.|\n)*another --name"):
        folder.check(make_sweep(space=other), "abc")
    with pytest.raises(ConfigError, match=r"another sweep \(searcher\.seed: 0 there, 1 now"):
        folder.check(make_sweep(searcher={"seed": 1}), "abc")
    with pytest.raises(ConfigError, match="another data set"):
        folder.check(make_sweep(), "def")
    (tmp_path / "sweep.json").unlink()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a run"):
        folder.check(make_sweep(), "abc")


def test_a_population_must_be_able_to_take_up_each_other_s_checkpoints() -> None:
    weights = {"model.weights.sdf": {"kind": "uniform", "low": 1, "high": 5}}
    sweep = make_sweep(space=weights, scheduler={"kind": "pbt"})
    check_same_state(check_space(sweep, base_recipe(sweep)), DatasetInfo())
    sweep = make_sweep(space={"model.hidden": {"kind": "choice", "values": [16, 32]}}, scheduler={"kind": "pbt"})
    with pytest.raises(ConfigError, match=r"pbt over model\.hidden"):
        check_same_state(check_space(sweep, base_recipe(sweep)), DatasetInfo())
