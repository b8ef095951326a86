"""Small sweeps for tests."""

from __future__ import annotations

from typing import Any

from raylift.sweeps.config import Sweep, from_dict
from raylift.sweeps.records import End, Trial
from raylift.sweeps.stop_rules import Observation

SPACE = {
    "model.fourier.scale": {"kind": "log_uniform", "low": 0.1, "high": 10.0},
    "model.fourier.size": {"kind": "choice", "values": [0, 16]},
    "optimizers.default.weight_decay": {
        "kind": "uniform",
        "low": 0.0,
        "high": 0.1,
        "when": {"model.fourier.size": [16]},
    },
}


def make_sweep(**values: Any) -> Sweep:
    """A random sweep of the test recipe, with other parts given."""
    plain = {
        "title": "test",
        "recipe": "implicit/test",
        "space": SPACE,
        "metrics": [{"name": "val/iou"}],
        "budget": {"trials": 4},
    }
    return from_dict({**plain, **values})


def make_trial(number: int, values: dict[str, Any], *scores: float, status: str = "finished", **more: float) -> Trial:
    """A trial with a ``val/iou`` at steps 10, 20, ..."""
    reports = tuple(Observation(10 * (index + 1), {"val/iou": score, **more}) for index, score in enumerate(scores))
    return Trial(number, values, reports=reports, end=End(status))  # type: ignore[arg-type]
