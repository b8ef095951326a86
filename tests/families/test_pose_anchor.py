"""From a pose search to D_cam: what is taken up, what the anchor trains, and that poses survive training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raylift.core.clock import Clock
from raylift.core.data_facts import DataFacts
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.types import Batch
from raylift.data.pictures import mask_distance
from raylift.families.mesh_texture.family import MeshTextureFamily
from raylift.families.poses.family import PoseSearch
from raylift.geometry.icosphere import sphere_interpolation, symmetric_icosphere
from raylift.recipes import catalogue
from raylift.recipes.recipe import Recipe
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import fit
from tests.families.mesh_texture_samples import rows
from tests.families.pose_samples import best_turn, constant_within_30, feed, single_views, within_30

NUM_IMAGES = 32
POSES = (
    "family.poses.ranges.azimuths=16",
    "family.poses.ranges.elevations=3",
    "family.poses.match_px=20",
    "family.poses.level=2",
)
SEARCH = (
    *POSES,
    'family.starts.shapes=["long"]',
    "family.starts.distances=[0.0]",
    "data.batch_size=32",
    "schedule.num_steps=70",
)
TRAINED = (
    *POSES,
    "family.shape.level=2",
    "family.texture.from_object=false",
    "family.camera.num_hypotheses=8",
    "family.encoder.width=8",
    "family.encoder.num_features=32",
    "data.batch_size=8",
    "optimisation.learning_rate=0.003",
    "optimisation.schedule.kind=constant",
)


def with_distances(batch: Batch) -> Batch:
    """The batch with the distance to each silhouette."""
    far = [mask_distance((mask[0] * 255).byte().numpy()) for mask in batch["mask"]]
    fields = {**batch.fields, "mask_distance": torch.stack([torch.from_numpy(one) for one in far])}
    return Batch(batch.ids, batch.keys, fields, batch.camera)


@pytest.fixture(scope="module")
def training() -> Batch:
    return with_distances(single_views(NUM_IMAGES, 32, seed=0))


@pytest.fixture(scope="module")
def search(training: Batch) -> PoseSearch:
    recipe = catalogue.get("poses/test", SEARCH)
    family = catalogue.build_family(recipe, DataFacts(NUM_IMAGES))
    assert isinstance(family, PoseSearch)
    run(recipe, family, training)
    return family


def build(*overrides: str) -> tuple[Recipe, MeshTextureFamily]:
    recipe = catalogue.get("mesh_texture/best-test.stage1", [*TRAINED, *overrides])
    family = catalogue.build_family(recipe, DataFacts(NUM_IMAGES))
    assert isinstance(family, MeshTextureFamily)
    return recipe, family


def run(
    recipe: Recipe,
    family: PoseSearch | MeshTextureFamily,
    whole: Batch,
    store: CheckpointStore | None = None,
    killed_after: int | None = None,
    search: PoseSearch | None = None,
) -> None:
    batches = feed(whole, recipe.data.batch_size)

    def killable(start: int, stop: int) -> Iterator[Batch]:
        for step, batch in zip(range(start, stop), batches(start, stop), strict=True):
            if step == killed_after:
                raise KeyboardInterrupt
            yield batch

    fit(
        family,
        recipe.optimisation,
        recipe.schedule,
        killable,
        recipe.schedule.num_steps,
        checkpoints=store,
        recipe=recipe.to_dict(),
        start_with=None if search is None else lambda fresh: fresh.adopt(search.state_dict(), "there"),
    )
    family.eval()


def rotations(family: PoseSearch | MeshTextureFamily, batch: Batch) -> Tensor:
    return torch.cat([found.camera.rotation for found in family.reconstruct(batch)]).double()


def test_the_search_is_taken_up(search: PoseSearch) -> None:
    """The template is the shared mesh, read at the vertices of a finer sphere; the posterior is the same."""
    _, family = build("family.shape.level=3")
    family.adopt(search.state_dict(), "there")
    poses = family.network.poses
    assert poses is not None
    for key, value in search.posterior.state_dict().items():
        assert torch.equal(poses.state_dict()[key], value), key
    shape = family.network.template.vertices
    assert len(shape) == 642
    torch.testing.assert_close(shape.amax(dim=0), search.posterior.vertices.amax(dim=0), atol=0.02, rtol=0)
    torch.testing.assert_close(shape, shape[family.network.template.mirror_vertex] * torch.tensor([-1.0, 1.0, 1.0]))


def test_values_on_a_sphere_are_read_between_its_vertices() -> None:
    coarse, fine = symmetric_icosphere(2), symmetric_icosphere(3)
    weights = sphere_interpolation(coarse, fine.vertices)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(642, dtype=torch.float64))
    torch.testing.assert_close(weights.float() @ coarse.vertices, fine.vertices, atol=0.02, rtol=0)
    torch.testing.assert_close(sphere_interpolation(coarse, 3 * coarse.vertices), torch.eye(162).double())


def test_the_anchor_trains_the_camera_and_what_it_reads(search: PoseSearch, training: Batch) -> None:
    _, family = build()
    family.adopt(search.state_dict(), "there")
    (anchor,) = family.losses("generator", rows(training, [0, 1, 2]), Clock(0, 10))
    assert (anchor.name, anchor.weight) == ("anchor", 1.0)
    anchor.share.backward()
    reached = {
        name
        for name, part in family.network.named_children()
        if any(value.grad is not None and bool(value.grad.any()) for value in part.parameters())
    }
    assert reached == {"encoder", "camera"}
    names = {term.name for term in family.losses("generator", rows(training, [0, 1, 2]), Clock(3, 10))}
    assert {"anchor", "mask", "deform", "reconstruction"} <= names, "after the distilling steps all terms are there"


def test_a_restart_is_invisible_across_the_end_of_distilling(
    search: PoseSearch, training: Batch, tmp_path: Path
) -> None:
    short = ("schedule.num_steps=6", "family.camera.distil_steps=3", "schedule.checkpoint_every=2")
    recipe, whole = build(*short)
    run(recipe, whole, training, search=search)
    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, build(*short)[1], training, store, killed_after=5, search=search)
    _, resumed = build(*short)
    run(recipe, resumed, training, store, search=search)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_poses_survive_training(search: PoseSearch, training: Batch) -> None:
    """Training with every term leaves D_cam's share within 30 degrees where distilling left it, far above constant."""
    assert training.camera is not None
    truth = training.camera.rotation.double()
    turn = best_turn(rotations(search, training), truth)
    scores = {}
    for name, steps in (("distilled", 260), ("trained", 310)):
        recipe, family = build(
            f"schedule.num_steps={steps}", "family.camera.distil_steps=260", "optimisation.learning_rate=0.001"
        )
        run(recipe, family, training, search=search)
        scores[name] = within_30(rotations(family, training) @ turn, truth)
    constant = constant_within_30(truth, truth)
    print(f"within 30: distilled {scores['distilled']:.2f}, trained {scores['trained']:.2f}, constant {constant:.2f}")
    assert scores["distilled"] > constant + 0.3
    assert scores["trained"] >= scores["distilled"] - 0.1


def test_what_does_not_fit_is_refused(search: PoseSearch, training: Batch) -> None:
    _, family = build()
    with pytest.raises(ConfigError, match="no poses to hold to"):
        family.losses("generator", rows(training, [0]), Clock(0, 10))
    with pytest.raises(CheckpointError, match="views"):
        build("family.poses.ranges.azimuths=12")[1].adopt(search.state_dict(), "there")
    fresh = catalogue.build_family(catalogue.get("poses/test", SEARCH), DataFacts(NUM_IMAGES))
    with pytest.raises(CheckpointError, match="has not found"):
        family.adopt(fresh.state_dict(), "there")
    for bad in ("family.camera.kind=single", "family.weights.anchor=0", "family.camera.rendered=9"):
        with pytest.raises(ConfigError):
            build(bad)
