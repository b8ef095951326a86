"""One grammar of overrides, wherever a command takes them."""

from __future__ import annotations

from typing import Any

import pytest

from raylift.config import tree
from raylift.config.overrides import parse_override, take_overrides
from raylift.config.recipe import ScaleConfig
from raylift.core.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "scope", "path", "value"),
    [
        ("seed=1", "", "seed", 1),
        ("model.weights.sdf = 5e-1", "", "model.weights.sdf", 0.5),
        ("stage2:schedule.num_steps=120", "stage2", "schedule.num_steps", 120),
        ("sweep:budget.trials=8", "sweep", "budget.trials", 8),
        ("evaluation.protocols=[occnet,ifnet]", "", "evaluation.protocols", ["occnet", "ifnet"]),
        ('evaluation.protocols=["occnet", "ifnet"]', "", "evaluation.protocols", ["occnet", "ifnet"]),
        ("data.categories=seats,tables", "", "data.categories", ["seats", "tables"]),
        ("start_from=s3://bucket/run=1", "", "start_from", "s3://bucket/run=1"),
        ("model.captions.towers=run:runs/towers", "", "model.captions.towers", "run:runs/towers"),
        ("start_from=", "", "start_from", ""),
    ],
)
def test_an_override_has_a_scope_a_path_and_a_value(word: str, scope: str, path: str, value: Any) -> None:
    found = parse_override(word)
    assert (found.scope, found.path, found.value) == (scope, path, value)
    assert found.text.startswith(f"{path}=")
    assert parse_override(found.text) == found._replace(scope="")


@pytest.mark.parametrize("word", ["seed", "=1", "--name=a", "a/b=1", "stage2:=1", "two words=1", "1=2"])
def test_anything_else_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not of the form"):
        parse_override(word)


def test_overrides_may_be_anywhere_on_the_command_line() -> None:
    words = [
        "runs/a",
        "--panels-of",
        "x/1",
        "x/2",
        "evaluation.resolution=64",
        "--name=a=b",
        "stage2:seed=1",
        "s3://b/c=d",
    ]
    others, overrides = take_overrides(words)
    assert others == ["runs/a", "--panels-of", "x/1", "x/2", "--name=a=b", "s3://b/c=d"]
    assert overrides == ("evaluation.resolution=64", "stage2:seed=1")


def test_a_scope_that_a_command_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="for 'stage2', which") as caught:
        tree.override(ScaleConfig(), ["stage2:workers=2"])
    assert caught.value.remedy == "write workers=2"
