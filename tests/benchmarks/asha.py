"""What successive halving saves, and what Tune adds to a trial.

    PYTHONPATH=platform python tests/benchmarks/asha.py [DATA] [--steps 96] [--scales 12]

Without DATA it prepares a few procedural chairs. First a grid of Fourier scales trains to the end (scheduler none),
then ASHA goes through the same grid on the same Ray, once judging from the first evaluation on (an eighth of a trial),
once from a third on, as the ready sweeps do: steps are compared, and the best that each found. Then one recipe
trains alone in this process and as a sweep of one trial: what the second takes longer is Tune's. Every ratio is of one
run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.runs.sweep import SweepOutcome, run_sweep
from raylift.runs.train import start_patiently, train
from raylift.sweeps.config import Metric, Sweep, from_dict
from raylift.sweeps.results import best_trial
from raylift.sweeps.trial_recipes import base_recipe

IOU = Metric("val/iou")


def make_sweep(scales: int, steps: int, scheduler: dict[str, Any]) -> Sweep:
    """A grid of Fourier scales of the test recipe, with eight evaluations a trial."""
    every = max(1, steps // 8)
    return from_dict(
        {
            "title": "benchmark",
            "recipe": "implicit/test",
            "overrides": [f"schedule.eval_every={every}", f"schedule.checkpoint_every={steps}", "evaluation.panels=0"],
            "space": {
                "model.fourier.scale": {"kind": "grid", "values": np.geomspace(0.05, 12.8, scales).tolist()},
            },
            "metrics": [{"name": IOU.name}],
            "scheduler": scheduler,
            "searcher": {"kind": "grid"},
            "budget": {"steps": steps},
            "resources": {"workers": 0, "cpus_per_worker": 1.0},
        }
    )


def described(name: str, outcome: SweepOutcome) -> str:
    """Steps, time and the best of a sweep."""
    best = best_trial(outcome.trials, [IOU])
    assert best is not None, outcome.trials[0].end.reason
    steps = sum(trial.steps for trial in outcome.trials)
    scale = best.values["model.fourier.scale"]
    return (
        f"{name:>10}: {steps:6d} steps, {outcome.seconds:6.1f} s, best IoU {best.score(IOU):.4f} at scale {scale:.3g}"
    )


def compared(name: str, halved: SweepOutcome, full: SweepOutcome) -> str:
    """Steps and the best of successive halving against the full grid's."""
    bests = [best_trial(outcome.trials, [IOU]) for outcome in (halved, full)]
    steps = [sum(trial.steps for trial in outcome.trials) for outcome in (halved, full)]
    assert bests[0] is not None
    assert bests[1] is not None
    same = "the same trial" if bests[0].number == bests[1].number else "another trial"
    share = (bests[0].score(IOU) or 0.0) / (bests[1].score(IOU) or 1.0)
    return f"{name} takes {steps[0] / steps[1]:.2f} of the steps; its best is {same}, {share:.3f} of the IoU"


def main() -> None:
    """The three measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--scales", type=int, default=12)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raylift-asha-") as work:
        data = given.data or str(Path(work) / "chairs")
        if not given.data:
            ingest([ProceduralSource(24)], data, replace(TINY, val_share=0.25, iou_points=4096), parallel="none")
        start_patiently(2)
        patient = {"kind": "asha", "grace_steps": given.steps // 3, "reduction": 3}
        schedulers = {"grid": {"kind": "none"}, "asha/8": {"kind": "asha", "reduction": 2}, "asha/3": patient}
        outcomes = {
            name: run_sweep(make_sweep(given.scales, given.steps, scheduler), data, work, name.replace("/", "-"))
            for name, scheduler in schedulers.items()
        }
        for name, outcome in outcomes.items():
            print(described(name, outcome))
        for name in list(outcomes)[1:]:
            print(compared(name, outcomes[name], outcomes["grid"]))

        single = make_sweep(1, given.steps, {"kind": "none"})
        recipe = base_recipe(single)
        train(recipe, data, work, "warm-up")
        start = time.perf_counter()
        train(recipe, data, work, "alone")
        alone = time.perf_counter() - start
        in_tune = run_sweep(single, data, work, "one-trial").seconds
        more = f"{in_tune - alone:.1f} s more, x{in_tune / alone:.2f}"
        print(f"one trial alone {alone:.1f} s, in Tune {in_tune:.1f} s: {more}")


if __name__ == "__main__":
    main()
