"""Recipes: round trips, overrides, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raylift.config import tree
from raylift.config.codec import to_dict
from raylift.core.errors import ConfigError
from raylift.models import catalogue


@pytest.mark.parametrize("name", catalogue.names())
def test_every_recipe_survives_json_and_builds(name: str) -> None:
    recipe = catalogue.get(name)
    assert recipe.name == name
    assert catalogue.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("name", catalogue.names())
def test_every_leaf_can_be_overridden_by_its_own_value(name: str) -> None:
    recipe = catalogue.get(name)
    for path, value in tree.flatten(recipe).items():
        assert tree.override(recipe, [f"{path}={json.dumps(to_dict(value))}"]) == recipe, path


def test_overrides_reach_the_leaf_and_nothing_else() -> None:
    base = catalogue.get("implicit/quick")
    changed = catalogue.get("implicit/quick", ["model.weights.sdf=5", "data.categories=chair"])
    assert tree.differences(base, changed) == {"model.weights.sdf": (10.0, 5.0), "data.categories": ((), ("chair",))}


@pytest.mark.parametrize("text", ['["a","b c"]', "a,b c", "[a,b c]", "[a, b c]", "['a','b c']"])
def test_a_list_of_words_is_written_in_any_usual_way(text: str) -> None:
    """A shell takes the quotes out of ["a","b"]: what is left must not become the words "[a" and "b]"."""
    assert catalogue.get("implicit/quick", [f"data.categories={text}"]).data.categories == ("a", "b c")
    assert catalogue.get("implicit/quick", ["data.categories=[a]"]).data.categories == ("a",)
    assert catalogue.get("implicit/quick", ["data.categories=[]"]).data.categories == ()


def test_two_values_that_only_fit_together_may_come_in_either_order() -> None:
    forward = catalogue.get("implicit/quick", ["schedule.num_steps=0", "schedule.num_epochs=3"])
    assert forward == catalogue.get("implicit/quick", ["schedule.num_epochs=3", "schedule.num_steps=0"])


def test_a_group_of_parameters_gets_an_optimizer_of_its_own() -> None:
    name, rate = "mesh_texture/umr-test.stage2", "optimizers.critic.learning_rate=4e-4"
    recipe = catalogue.get(name, [rate, "optimizers.default.weight_decay=0.5"])
    assert recipe == catalogue.get(name, ["optimizers.default.weight_decay=0.5", rate])
    default, critic = recipe.optimizers["default"], recipe.optimizers["critic"]
    assert critic == replace(default, learning_rate=4e-4)
    assert default.weight_decay == 0.5
    assert catalogue.from_json(recipe.to_json()) == recipe
    again = tree.override(recipe, ["optimizers.critic.kind=sgd"])
    assert again.optimizers["critic"] == replace(critic, kind="sgd")


def test_what_a_resumed_run_may_change_is_what_the_fingerprint_leaves_out() -> None:
    base = catalogue.get("implicit/quick")
    text = {bool: "true", int: "7", float: "0.625", str: "x"}
    for path, value in tree.flatten(base).items():
        if not isinstance(value, bool | int | float) or path == "schedule.num_epochs":
            continue
        given = json.dumps(not value) if isinstance(value, bool) else text[type(value)]
        try:
            changed = tree.override(base, [f"{path}={given}"])
        except ConfigError:
            continue
        is_free = any(path == one or path.startswith(f"{one}.") for one in base.free_paths)
        assert (changed.fingerprint == base.fingerprint) == (is_free or changed == base), path
    assert {"evaluation", "scale", "schedule.log_every"} <= set(base.free_paths)
    assert not {"seed", "schedule.num_steps", "optimizers"} & set(base.free_paths)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("model.wieghts.sdf=5", "did you mean 'model.weights.sdf'"),
        ("wieghts.sdf=5", "model.weights.sdf"),
        ("model.weights.sdf=heavy", "a number"),
        ("model.weights.sdf=-1", "weights of 0 or more"),
        ("model.weights.sdf=NaN", "a number"),
        ("model.weights.sdf=true", "a number"),
        ("model.conditioning.kind=visble", "did you mean 'visible'"),
        ("model.backbone=resnet5", "did you mean 'resnet50'"),
        ("evaluation.protocols=occnt", "'occnet'"),
        ("evaluation.lpips=1", "true or false"),
        ("model=3", "group of values"),
        ("optimizers=3", "group of values"),
        ("optimizers.critic=3", "optimizers.critic.learning_rate"),
        ("optimizers.critic.learning_rat=3", "did you mean"),
        ("optimizers.default.kind=adamv", "adamw"),
        ("seed.deeper=1", "is a single value"),
        ("seed=1.5", "a whole number"),
        ("seed", "path=value"),
        ("=1", "path=value"),
        ("name=other/quick", "model"),
    ],
)
def test_bad_overrides_are_refused_with_the_way_out(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        catalogue.get("implicit/quick", [assignment])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="implicit/quick"):
        catalogue.get("implicit/qick")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "nerf/quick"}', '{"name": "implicit/quick", "oops": 1}'])
def test_bad_recipe_files_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        catalogue.from_json(text)


def test_a_newer_layout_is_refused() -> None:
    values = catalogue.get("implicit/quick").to_dict() | {"recipe_version": 99}
    with pytest.raises(ConfigError, match="layout 99"):
        catalogue.from_json(json.dumps(values))


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_override_text_escapes_as_another_error(path: str, value: str) -> None:
    try:
        catalogue.get("implicit/test", [f"{path}={value}"])
    except ConfigError:
        return


def test_the_fingerprint_moves_with_what_decides_the_weights_only() -> None:
    base = catalogue.get("implicit/quick")
    assert (
        base.fingerprint == catalogue.get("implicit/quick", ["scale.workers=8", "evaluation.resolution=64"]).fingerprint
    )
    assert base.fingerprint != catalogue.get("implicit/quick", ["seed=1"]).fingerprint


def test_a_later_field_leaves_fingerprints_alone_until_it_is_set() -> None:
    recipe = catalogue.get("implicit/quick")
    assert "data.shuffle_window" in tree.later_paths(recipe)
    content = {path: to_dict(value) for path, value in tree.flatten(recipe).items()}
    free = (*recipe.free_paths, "name", "data.shuffle_window")
    before = {p: v for p, v in content.items() if not any(p == one or p.startswith(f"{one}.") for one in free)}
    assert recipe.fingerprint == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:12]
    assert catalogue.get("implicit/quick", ("data.shuffle_window=2",)).fingerprint != recipe.fingerprint
