"""Every law for the smallest recipe of each model of Raylift; a new folder of models/ is among them by itself."""

from __future__ import annotations

from typing import ClassVar

from raylift.models import catalogue
from raylift.testing.laws import ModelLaws


class _OfRaylift(ModelLaws):
    worlds: ClassVar = (2,)
    test_the_first_steps_are_the_golden_ones: ClassVar = None  # tests/golden keeps those


def _smallest(model: str) -> str:
    """``test``, or the first such variant that starts from its seed and not from a stage before."""
    entry = catalogue.MODELS[model]
    later = {stage for stages in entry.chains.values() for stage in stages[1:]}
    tests = [name for name in entry.variants if "test" in name.replace(".", "-").split("-") and name not in later]
    assert tests, f"{model} has no test recipe: models/README.md says what it is"
    return f"{model}/{'test' if 'test' in tests else tests[0]}"


OVERRIDES: dict[str, tuple[str, ...]] = {"poses": ("model.cue_from=0.0",)}
"""What a default leaves out of the few steps that the laws take."""
LAWS = {
    model: type(f"Test_{model}", (_OfRaylift,), {"recipe": _smallest(model), "overrides": OVERRIDES.get(model, ())})
    for model in catalogue.MODELS
    if catalogue.MODELS[model].build.__module__.startswith("raylift.")
}
for laws in LAWS.values():
    laws.together = tuple(LAWS.values())
globals().update({laws.__name__: laws for laws in LAWS.values()})
del laws
