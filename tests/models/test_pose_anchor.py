"""From a pose search to D_cam: what is taken up, what the anchor trains, and that poses survive training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.data.store.stored_view import mask_distance
from raylift.geometry.icosphere import sphere_interpolation, symmetric_icosphere
from raylift.models import catalogue
from raylift.models.mesh_texture.model import MeshTextureModel
from raylift.models.poses.model import PoseSearch
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import fit
from raylift.training.plan import FitPlan, RunIdentity
from tests.models.interrupted import interrupted
from tests.models.mesh_texture_samples import rows
from tests.models.pose_samples import best_turn, constant_within_30, feed, single_views, within_30

NUM_IMAGES = 32
POSES = (
    "model.poses.ranges.azimuths=16",
    "model.poses.ranges.elevations=3",
    "model.poses.match_px=20",
    "model.poses.level=2",
)
SEARCH = (
    *POSES,
    'model.starts.shapes=["long"]',
    "model.starts.distances=[0.0]",
    "data.batch_size=32",
    "schedule.num_steps=70",
)
TRAINED = (
    *POSES,
    "model.shape.level=2",
    "model.texture.from_object=false",
    "model.camera.num_hypotheses=8",
    "model.encoder.width=8",
    "model.encoder.num_features=32",
    "data.batch_size=8",
    "optimizers.default.learning_rate=0.003",
    "optimizers.default.schedule.kind=constant",
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
    model = catalogue.build_model(recipe, DatasetInfo(NUM_IMAGES))
    assert isinstance(model, PoseSearch)
    run(recipe, model, training)
    return model


def build(*overrides: str) -> tuple[Recipe, MeshTextureModel]:
    recipe = catalogue.get("mesh_texture/best-test.stage1", [*TRAINED, *overrides])
    model = catalogue.build_model(recipe, DatasetInfo(NUM_IMAGES))
    assert isinstance(model, MeshTextureModel)
    return recipe, model


def run(
    recipe: Recipe,
    model: PoseSearch | MeshTextureModel,
    whole: Batch,
    store: CheckpointStore | None = None,
    killed_after: int | None = None,
    search: PoseSearch | None = None,
) -> None:
    batches = interrupted(feed(whole, recipe.data.batch_size), killed_after)
    fit(
        model,
        batches,
        FitPlan(
            recipe.optimizers,
            recipe.schedule,
            checkpoints=store,
            identity=RunIdentity(recipe.to_dict()),
            init_fn=None if search is None else lambda fresh: fresh.load_pretrained(search.state_dict(), "there"),
        ),
    )
    model.eval()


def rotations(model: PoseSearch | MeshTextureModel, batch: Batch) -> Tensor:
    return torch.cat([found.camera.rotation for found in model.reconstruct(batch)]).double()


def test_the_search_is_taken_up(search: PoseSearch) -> None:
    """The template is the shared mesh, read at the vertices of a finer sphere; the posterior is the same."""
    _, model = build("model.shape.level=3")
    model.load_pretrained(search.state_dict(), "there")
    poses = model.network.poses
    assert poses is not None
    for key, value in search.posterior.state_dict().items():
        assert torch.equal(poses.state_dict()[key], value), key
    shape = model.network.template.vertices
    assert len(shape) == 642
    torch.testing.assert_close(shape.amax(dim=0), search.posterior.vertices.amax(dim=0), atol=0.02, rtol=0)
    torch.testing.assert_close(shape, shape[model.network.template.mirror_vertex] * torch.tensor([-1.0, 1.0, 1.0]))


def test_values_on_a_sphere_are_read_between_its_vertices() -> None:
    coarse, fine = symmetric_icosphere(2), symmetric_icosphere(3)
    weights = sphere_interpolation(coarse, fine.vertices)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(642, dtype=torch.float64))
    torch.testing.assert_close(weights.float() @ coarse.vertices, fine.vertices, atol=0.02, rtol=0)
    torch.testing.assert_close(sphere_interpolation(coarse, 3 * coarse.vertices), torch.eye(162).double())


def test_the_anchor_trains_the_camera_and_what_it_reads(search: PoseSearch, training: Batch) -> None:
    _, model = build()
    model.load_pretrained(search.state_dict(), "there")
    (anchor,) = model.losses("generator", rows(training, [0, 1, 2]), StepInfo(0, 10), {}).terms
    assert (anchor.name, anchor.weight) == ("anchor", 1.0)
    anchor.share.backward()
    reached = {
        name
        for name, part in model.network.named_children()
        if any(value.grad is not None and bool(value.grad.any()) for value in part.parameters())
    }
    assert reached == {"encoder", "camera"}
    names = {term.name for term in model.losses("generator", rows(training, [0, 1, 2]), StepInfo(3, 10), {}).terms}
    assert {"anchor", "mask", "deform", "reconstruction"} <= names, "after the distilling steps all terms are there"


def test_a_restart_is_invisible_across_the_end_of_distilling(
    search: PoseSearch, training: Batch, tmp_path: Path
) -> None:
    short = ("schedule.num_steps=6", "model.camera.distil_steps=3", "schedule.checkpoint_every=2")
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
        recipe, model = build(
            f"schedule.num_steps={steps}", "model.camera.distil_steps=260", "optimizers.default.learning_rate=0.001"
        )
        run(recipe, model, training, search=search)
        scores[name] = within_30(rotations(model, training) @ turn, truth)
    constant = constant_within_30(truth, truth)
    print(f"within 30: distilled {scores['distilled']:.2f}, trained {scores['trained']:.2f}, constant {constant:.2f}")
    assert scores["distilled"] > constant + 0.3
    assert scores["trained"] >= scores["distilled"] - 0.1


def test_what_does_not_fit_is_refused(search: PoseSearch, training: Batch) -> None:
    _, model = build()
    with pytest.raises(ConfigError, match="no poses from a pose search"):
        model.losses("generator", rows(training, [0]), StepInfo(0, 10), {})
    with pytest.raises(CheckpointError, match="views"):
        build("model.poses.ranges.azimuths=12")[1].load_pretrained(search.state_dict(), "there")
    fresh = catalogue.build_model(catalogue.get("poses/test", SEARCH), DatasetInfo(NUM_IMAGES))
    with pytest.raises(CheckpointError, match="is not finished"):
        model.load_pretrained(fresh.state_dict(), "there")
    for bad in ("model.camera.kind=single", "model.weights.anchor=0", "model.camera.rendered=9"):
        with pytest.raises(ConfigError):
            build(bad)
