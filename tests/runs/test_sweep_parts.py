"""Room for trials, schedulers that remember, and perturbed values: what of a sweep on Tune needs no cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, PopulationBasedTraining, TrialScheduler

from raylift.config.recipe import ScaleConfig
from raylift.core.errors import ConfigError
from raylift.runs.sweep_room import DRIVER_CPUS, check_room, driver_resources, num_that_fit
from raylift.runs.sweep_schedulers import NUMBER, Proposing, inside, mutations, open_scheduler, recall
from raylift.sweeps.proposals import open_proposals
from raylift.sweeps.records import End, SweepFolder
from raylift.sweeps.trial_recipes import base_recipe, base_values
from tests.sweeps.sweeps import make_sweep, make_trial

ASHA = {"kind": "asha", "reduction": 2}
STEPS = {"trials": 8, "steps": 40}


def test_a_trial_asks_for_its_workers_and_what_feeds_them() -> None:
    scale = ScaleConfig(workers=2, cpus_per_worker=0.5, data_cpus=0.5, gpu="never")
    assert driver_resources(scale) == {"CPU": DRIVER_CPUS}
    assert num_that_fit([{"CPU": 2.0 + DRIVER_CPUS}], scale) == 1
    assert num_that_fit([{"CPU": 2.0}], scale) == 0, "a driver without room would keep its workers waiting for ever"
    assert num_that_fit([{"CPU": 8.0}], scale) == 3
    assert num_that_fit([{"CPU": 1.5}] * 4, scale) == 2, "a worker and its data lie on one node"
    assert driver_resources(ScaleConfig(workers=0, cpus_per_worker=2, gpu="never")) == {"CPU": 2}


def test_gpus_are_shared_by_fractions() -> None:
    half = ScaleConfig(workers=0, cpus_per_worker=1, gpu="always", gpus_per_worker=0.5)
    assert driver_resources(half) == {"CPU": 1, "GPU": 0.5}
    assert num_that_fit([{"CPU": 16.0, "GPU": 1.0}], half) == 2
    pair = ScaleConfig(workers=2, cpus_per_worker=1, data_cpus=1, gpu="always", gpus_per_worker=0.25)
    assert num_that_fit([{"CPU": 64.0, "GPU": 1.0}], pair) == 2
    with pytest.raises(ConfigError, match=r"gpus_per_worker is 1\.5"):
        ScaleConfig(gpus_per_worker=1.5)


def test_requests_that_never_fit_are_refused() -> None:
    nodes = [{"CPU": 2.0}]
    with pytest.raises(ConfigError, match=r"no trial fits: it needs 2 x \(1\.5 CPU(.|\n)*lower resources\.workers"):
        check_room(nodes, ScaleConfig(workers=2, gpu="never"))
    with pytest.raises(ConfigError, match=r"0\.5 GPU(.|\n)*1 x \(2 CPUs\)"):
        check_room(nodes, ScaleConfig(workers=1, cpus_per_worker=0.5, gpu="always", gpus_per_worker=0.5))
    one = ScaleConfig(workers=1, cpus_per_worker=0.25, data_cpus=0.25, gpu="never")
    assert check_room(nodes, one) == 3
    assert check_room(nodes, one, concurrency=2) == 2
    with pytest.raises(ConfigError, match="pbt runs 4 trials(.|\n)*room for 3"):
        check_room(nodes, one, population=4)


class _Running:
    """As much of one of Tune's trials as a scheduler looks at."""

    def __init__(self, number: int) -> None:
        self.config, self.trial_id = {NUMBER: number}, f"new-{number}"


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_scheduler_compares_with_trials_of_earlier_commands(kind: str) -> None:
    sweep = make_sweep(scheduler={"kind": kind, "reduction": 2}, budget=STEPS)
    base = base_recipe(sweep)
    stopped: list[tuple[int, str]] = []
    scheduler = open_scheduler(sweep, base, lambda number, why: stopped.append((number, why)))
    recall(scheduler, [make_trial(number, {}, 0.5, 0.6, 0.7, float("nan")) for number in range(4)], sweep)
    assert stopped == [], "what is only remembered is not stopped again"
    decisions = []
    for number, iou in ((7, 0.1), (8, 0.9)):
        trial: Any = _Running(number)
        scheduler.on_trial_add(_Controller(), trial)
        decisions.append(scheduler.on_trial_result(_Controller(), trial, {"step": 10, "val/iou": iou}))
    assert decisions == [TrialScheduler.STOP, TrialScheduler.CONTINUE]
    assert [number for number, _ in stopped] == [7]
    assert stopped[0][1].startswith("scheduler: ")


class _Controller:
    def get_live_trials(self) -> list[Any]:
        return []


def test_asha_s_rungs_lie_below_the_last_step() -> None:
    sweep = make_sweep(scheduler=ASHA, budget=STEPS)
    base = base_recipe(sweep)
    scheduler = open_scheduler(sweep, base, lambda number, why: None)
    assert isinstance(scheduler, AsyncHyperBandScheduler)
    trial: Any = _Running(0)
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"step": 40, "val/iou": 0.1}) == TrialScheduler.CONTINUE


def test_perturbed_values_stay_in_their_dimensions() -> None:
    space = {
        "model.weights.sdf": {"kind": "log_uniform", "low": 1.0, "high": 2.0},
        "model.points": {"kind": "integer", "low": 16, "high": 64},
        "model.voxel_stride": {"kind": "choice", "values": [1, 2]},
    }
    sweep = make_sweep(scheduler={"kind": "pbt"}, space=space, budget=STEPS)
    assert isinstance(open_scheduler(sweep, base_recipe(sweep), lambda number, why: None), PopulationBasedTraining)
    config = {NUMBER: 3, "model.weights.sdf": 2.4, "model.points": 12.8, "model.voxel_stride": 2}
    assert inside(sweep, config) == {**config, "model.weights.sdf": 2.0, "model.points": 16}
    drawn = mutations(sweep)
    assert drawn["model.voxel_stride"] == [1, 2]
    assert all(1.0 <= drawn["model.weights.sdf"]() <= 2.0 for _ in range(20))


def test_a_queue_of_unfinished_trials_comes_first(tmp_path: Any) -> None:
    sweep = make_sweep()
    folder = SweepFolder(str(tmp_path))
    known = base_values(base_recipe(sweep))
    left = make_trial(1, {"model.fourier.scale": 5.0}, status="unfinished")
    proposing = Proposing(open_proposals(sweep, known), folder, [left], [2, 3])
    assert proposing.suggest("a") == {NUMBER: 1, "model.fourier.scale": 5.0}
    second = proposing.suggest("b")
    assert second[NUMBER] == 2
    assert folder.trial(2).values == {path: value for path, value in second.items() if path != NUMBER}
    folder.close(2, End("failed", "lost"))
    proposing.on_trial_complete("b", error=True)
    proposing.suggest("c")
    assert proposing.suggest("d") == Proposing.FINISHED
