"""The pose search: planted poses are found, laws hold, and doubtful sets are said to be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError, DataError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.models import catalogue
from raylift.models.poses.model import PoseSearch
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import fit
from raylift.training.plan import FitPlan, RunIdentity
from tests.models.interrupted import interrupted
from tests.models.mesh_texture_samples import rows
from tests.models.pose_samples import (
    azimuth_spread_deg,
    ball,
    best_turn,
    constant_within_30,
    feed,
    random_within_30,
    single_views,
    within_30,
)

SMALL = (
    "model.poses.ranges.azimuths=16",
    "model.poses.ranges.elevations=3",
    "model.poses.match_px=20",
    "model.poses.level=2",
    'model.starts.shapes=["long"]',
    "model.starts.distances=[0.0]",
    "data.batch_size=32",
    "schedule.num_steps=70",
)


def build(count: int, *overrides: str) -> tuple[Recipe, PoseSearch]:
    recipe = catalogue.get("poses/test", overrides)
    model = catalogue.build_model(recipe, DatasetInfo(count))
    assert isinstance(model, PoseSearch)
    return recipe, model


def search(
    whole: Batch, *overrides: str, store: CheckpointStore | None = None, killed_after: int | None = None
) -> PoseSearch:
    recipe, model = build(len(whole), *overrides)
    batches = interrupted(feed(whole, recipe.data.batch_size), killed_after)
    steps = recipe.schedule.num_steps
    identity = RunIdentity(recipe.to_dict())
    fit(model, batches, FitPlan(recipe.optimizers, recipe.schedule, steps, checkpoints=store, identity=identity))
    return model.eval()


def rotations(model: PoseSearch, batch: Batch) -> Tensor:
    return torch.cat([found.camera.rotation for found in model.reconstruct(batch)]).double()


@pytest.fixture(scope="module")
def training() -> Batch:
    return single_views(32, 48, seed=0)


@pytest.fixture(scope="module")
def found(training: Batch) -> PoseSearch:
    return search(training, *SMALL)


def true_rotations(batch: Batch) -> Tensor:
    assert batch.camera is not None
    return batch.camera.rotation.double()


def test_planted_poses_are_found(training: Batch, found: PoseSearch) -> None:
    """Held-out images within 30 degrees, after one turn that is fitted on the training images."""
    held_out = single_views(16, 48, seed=1)
    truth, turn = true_rotations(held_out), best_turn(rotations(found, training), true_rotations(training))
    predicted = rotations(found, held_out)
    constant, chance = constant_within_30(true_rotations(training), truth), random_within_30(truth)
    score, spread = within_30(predicted @ turn, truth), azimuth_spread_deg(predicted)
    print(f"within 30: search {score:.2f}, constant {constant:.2f}, random {chance:.2f}; spread {spread:.0f} degrees")
    assert score > constant + 0.3
    assert score > chance + 0.3
    assert spread > 60


def test_true_cameras_change_no_bit(training: Batch) -> None:
    recipe, told = build(len(training), *SMALL)
    batches = list(feed(training, recipe.data.batch_size)(0, 2))
    _, untold = build(len(training), *SMALL)
    for model, camera in ((told, training.camera), (untold, None)):
        for step, batch in enumerate(batches):
            known = replace(batch, camera=camera)
            output = model.losses("fit", known, StepInfo(step, 2), {})
            sum(term.share for term in output.terms).backward()  # type: ignore[attr-defined]
            model.after_step(StepInfo(step, 2), output.carry)
    assert torch.equal(told.mesh.u.grad, untold.mesh.u.grad)  # type: ignore[arg-type]
    for key, value in told.state_dict().items():
        assert torch.equal(untold.state_dict()[key], value), key


def test_a_mirrored_image_has_the_mirrored_posterior(training: Batch, found: PoseSearch) -> None:
    image, mask = training["image"], training["mask"]
    azimuths = found.config.poses.ranges.azimuths
    opposite = (-torch.arange(azimuths)) % azimuths
    # The pull on azimuths need not be symmetric.
    bias = found.posterior.bias.clone()
    found.posterior.bias.zero_()
    plain, mirrored = found.posterior(image, mask), found.posterior(image.flip(-1), mask.flip(-1))
    found.posterior.bias.copy_(bias)
    torch.testing.assert_close(mirrored.azimuths, plain.azimuths[:, opposite], atol=0.02, rtol=0)


def test_a_restart_is_invisible(training: Batch, tmp_path: Path) -> None:
    """Killed in the middle, after the cue has been painted; the same bits, posterior and sums included."""
    few = rows(training, list(range(8)))
    steps = ("model.cue_from=0.1", "schedule.checkpoint_every=3")
    whole = search(few, *steps)
    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search(few, *steps, store=store, killed_after=5)
    resumed = search(few, *steps, store=store)
    assert bool(whole.posterior.ready)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_the_start_of_the_lowest_objective_is_kept(training: Batch) -> None:
    model = search(rows(training, list(range(8))))
    best = int(model.statistics.ranking.argmin())
    assert float(model.posterior.distance) == pytest.approx(model.starts[best][1])
    edges = model.posterior.vertices.amax(dim=0) - model.posterior.vertices.amin(dim=0)
    torch.testing.assert_close(edges.max(), torch.tensor(1.0))


def test_feature_maps_may_take_the_place_of_colour(training: Batch) -> None:
    model = search(rows(training, list(range(8))), "model.poses.cue=random", "model.cue_from=0.1")
    assert bool(model.is_painted)
    assert bool(model.posterior.painted.any())


def test_round_objects_are_said_to_have_no_pose() -> None:
    model = search(single_views(16, 48, seed=2, shape=ball), *SMALL, "schedule.num_steps=60", "model.prior=0.0")
    assert any("azimuths are undecided" in doubt for doubt in model.doubts()), model.doubts()
    assert any("front and back" in doubt for doubt in model.doubts()), model.doubts()


def test_images_of_one_side_are_said_to_be_so(training: Batch, found: PoseSearch) -> None:
    assert found.doubts() == (), "of a planted set that is found"
    sides = single_views(16, 48, seed=3, azimuth_deg=(70.0, 110.0))
    model = search(sides, *SMALL, "model.prior=0.0")
    assert any("one side" in doubt for doubt in model.doubts()), model.doubts()


def test_ranges_that_exclude_the_data_are_said_to_be_too_narrow() -> None:
    """A range that holds a part of the images: the others pile up at its end."""
    high = single_views(24, 48, seed=4, elevation_deg=(0.0, 60.0))
    model = search(high, *SMALL, "model.poses.ranges.elevation_deg=[0.0, 15.0]")
    assert any("widen" in doubt for doubt in model.doubts()), model.doubts()


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(DataError, match="one image"):
        build(1)
    assert any("weakly determined" in doubt for doubt in build(5)[1].doubts())
    for bad in ("model.prior=1.0", "model.starts.distances=[0.5]", "model.poses.ranges.elevation_deg=[30.0, 10.0]"):
        with pytest.raises(ConfigError):
            build(8, bad)
