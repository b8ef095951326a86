"""The shelf-supervised model: who trains what, what no decoder can paint, what it refuses, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raylift.core.captions import encode_caption
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective, to_weak_perspective
from raylift.geometry.camera_hypotheses import CameraHypotheses, orbit_quaternions
from raylift.models import catalogue
from raylift.models.shelf.config import CameraConfig, ShelfConfig, ViewPriorConfig
from raylift.models.shelf.model import ShelfModel
from raylift.models.shelf.network import Encoded
from raylift.models.shelf.state import ForwardState
from raylift.models.shelf.surface import query
from raylift.models.shelf.view_terms import view_error
from raylift.models.shelf.views import Pictures, framed_camera
from raylift.models.shelf.weights import ShelfWeights
from raylift.networks.feature_extractors import Frozen
from raylift.networks.volumes.geometry import OccupancyGeometry
from raylift.networks.volumes.volume import Volume
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march import render_volume
from raylift.testing.gradients import wake
from tests.models.mesh_texture_samples import NUM_IMAGES, as_double, ellipsoids, with_poses
from tests.models.term_reach import Group, reach_of, table

INFO = DatasetInfo(NUM_IMAGES)
STEP = StepInfo(3, 10)
EVERY_TERM = (
    *(f"model.weights.{name}=1" for name in ("perceptual", "anchor", "caption", "image_similarity")),
    "model.captions.towers=random",
)


def shelf(*overrides: str) -> ShelfModel:
    model = catalogue.build_model(catalogue.get("shelf/test", list(overrides)), INFO)
    assert isinstance(model, ShelfModel)
    return model


def images(model: ShelfModel, count: int = NUM_IMAGES) -> Batch:
    batch = ellipsoids(NUM_IMAGES, model.config.image_px).select(slice(count))
    captions = [encode_caption("" if index == 1 else f"an ellipsoid {index}") for index in range(count)]
    return replace(batch, fields={**batch.fields, "caption": torch.from_numpy(np.stack(captions))})


class _Look(nn.Module):
    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return (ours - theirs).square().mean(dim=(1, 2, 3))


def groups_of(model: ShelfModel) -> dict[str, Group]:
    network, head = model.network, model.network.camera.head
    is_logit = torch.zeros(len(head.bias), dtype=torch.bool)
    if model.config.camera.kind == "bins":
        is_logit = is_logit.view(model.config.camera.num_hypotheses, -1)
        is_logit[:, -1] = True
    in_head = (head.weight, head.bias)
    groups = {
        "encoder": Group.of(network.encoder),
        "latent": Group.of(network.latent),
        "cameras": Group(in_head, ~is_logit.flatten()),
        "probabilities": Group(in_head, is_logit.flatten()),
        "decoder": Group.of(network.decoder),
    }
    return groups if is_logit.any() else {name: group for name, group in groups.items() if name != "probabilities"}


PICTURED = {"encoder", "latent", "cameras", "probabilities", "decoder"}
REACH: dict[str, set[str]] = {
    "rgb": PICTURED,
    "mask": PICTURED,
    "perceptual": PICTURED,
    "structure": PICTURED,
    "similarity": PICTURED,
    "feature_matching": PICTURED - {"probabilities"},
    "latent_size": {"encoder", "latent"},
    "smoothness": {"encoder", "latent", "decoder"},
    "camera_use": {"encoder", "probabilities"},
    "anchor": {"encoder", "cameras", "probabilities"},
    "latent_consistency": {"encoder", "latent"},
    "view_consistency": {"encoder", "cameras", "probabilities"},
    "adversarial": {"decoder"},
    "caption": {"encoder", "latent", "decoder"},
    "image_similarity": {"encoder", "latent", "decoder"},
    "path_length": {"decoder"},
}
"""The model README's table: as the original, content trains the encoder alone, the adversarial term the decoder."""


def test_the_readme_has_the_table() -> None:
    readme = Path(__file__).parents[2] / "platform" / "raylift" / "models" / "shelf" / "README.md"
    assert table(REACH, ("encoder", "latent", "cameras", "probabilities", "decoder")) in readme.read_text()


@pytest.mark.parametrize("trains", ["decoder", "both"])
def test_every_term_reaches_what_it_is_for(trains: str) -> None:
    model = shelf(*EVERY_TERM, f"model.critic.trains={trains}").double().train()
    with_poses(model)
    model._perceptual = Frozen(_Look())
    wake(model)
    batch = as_double(images(model, 4))
    terms = model.losses("generator", batch, STEP, {}).terms
    weighted = {name for name, weight in vars(model.config.weights).items() if weight > 0}
    assert {term.name for term in terms} == weighted - {"path_length"}
    expected = dict(REACH)
    if trains == "both":
        expected["adversarial"] = {"encoder", "latent", "decoder"}
    assert model.critic is not None
    found = reach_of(terms, groups_of(model))
    expected.pop("path_length")
    assert found == expected
    critic = {"critic": Group.of(model.critic)}
    for phase, name in (("critic", "critic"), ("r1", "r1")):
        reached = reach_of(model.losses(phase, batch, STEP, {}).terms, {**groups_of(model), **critic})
        assert reached == {name: {"critic"}}
    reached = reach_of(model.losses("path", batch, STEP, {}).terms, {**groups_of(model), **critic})
    assert reached == {"path_length": REACH["path_length"]}


def test_searched_cameras_are_constants_that_the_predicted_ones_follow() -> None:
    model = shelf("model.weights.anchor=1", "model.camera.trained_by=searched").double().train()
    with_poses(model)
    wake(model)
    batch = as_double(images(model, 4))
    found = reach_of(model.losses("generator", batch, STEP, {}).terms, groups_of(model))
    assert found["mask"] == found["rgb"] == {"encoder", "latent", "decoder"}
    assert found["anchor"] == {"encoder", "cameras", "probabilities"}
    # Reconstructions have no silhouette to search with: they take the predicted cameras.
    state = ForwardState(model.eval().network, batch, STEP)
    torch.testing.assert_close(state.cameras.logits, state.encoded.cameras.top(2).logits)
    with pytest.raises(ConfigError, match="needs the poses of a pose search"):
        ShelfConfig(camera=CameraConfig("bins", trained_by="searched"))


def test_known_cameras_train_volumes_and_the_encoders_cameras() -> None:
    model = shelf("model.weights.anchor=1", "model.camera.trained_by=known").double().train()
    assert model.request.supervised_camera
    assert model.network.poses is None
    wake(model)
    batch = as_double(images(model, 4))
    angles = torch.tensor([0.0, 80.0, 170.0, -60.0])
    turned = WeakPerspective(torch.full((4,), 1.7), torch.zeros(4, 2), orbit_quaternions(angles, angles / 10))
    batch = replace(batch, camera=from_weak_perspective(turned).to("cpu", torch.float64))
    found = reach_of(model.losses("generator", batch, STEP, {}).terms, groups_of(model))
    assert found["mask"] == found["rgb"] == {"encoder", "latent", "decoder"}
    assert found["anchor"] == {"encoder", "cameras", "probabilities"}
    state = ForwardState(model.network, batch, STEP)
    torch.testing.assert_close(state.cameras.quaternion[:, 0], to_weak_perspective(batch.camera).quaternion)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="by their anchor"):
        ShelfConfig(camera=CameraConfig("bins", trained_by="known"))


def test_nothing_is_painted_where_nothing_is_hit() -> None:
    """Colour is composited with coverage: where no ray is stopped the picture is the background."""
    model = shelf()
    wake(model)
    state = ForwardState(model.network, images(model, 4), STEP)
    for pictures in (state.hypotheses, state.novel):
        assert bool((pictures.rgb.amax(dim=1, keepdim=True) <= pictures.alpha + 1e-5).all())
        torch.testing.assert_close(pictures.on_white, pictures.rgb + 1 - pictures.alpha)


def test_images_and_renders_are_alike_for_the_critic() -> None:
    """An image and its exact render are the same picture for every choice of what the critic sees."""
    for sees in ("rgb", "random", "rgba"):
        model = shelf(f"model.critic.sees={sees}")
        batch = images(model, 2)
        state = ForwardState(model.network, batch, STEP)
        judge = model._judge(state)
        real = judge.channels(state.images)
        assert real.shape[1] == (4 if sees == "rgba" else 3)
        torch.testing.assert_close(real, judge.channels(Pictures(state.images.rgb, state.images.alpha)))
        white = Pictures.of_images(batch["image"], batch["mask"], 16).on_white
        if sees == "rgb":
            torch.testing.assert_close(real, white, atol=1e-5, rtol=0)


def test_captions_in_the_wrong_places_are_left_out() -> None:
    model = shelf("model.weights.caption=1", "model.captions.towers=random")
    batch = images(model, 4)
    silent = replace(batch, fields={**batch.fields, "caption": torch.zeros_like(batch["caption"])})
    by_name = {term.name: term.share for term in model.losses("generator", silent, STEP, {}).terms}
    assert float(by_name["caption"].detach()) == 0
    by_name = {term.name: term.share for term in model.losses("generator", batch, STEP, {}).terms}
    assert float(by_name["caption"].detach()) > 0


def test_novel_views_are_framed_like_crops() -> None:
    """A small solid off the centre fills the wanted share of the picture and is in its middle."""
    density = torch.zeros(1, 32, 32, 32)
    density[:, 20:26, 4:10, 8:14] = 1.0
    grid = VolumeGrid(density, torch.zeros(1, 3, 32, 32, 32), kind="occupancy")
    quaternion = orbit_quaternions(torch.tensor([40.0]), torch.tensor([20.0]))
    camera = framed_camera(grid, quaternion, 0.8)
    alpha = render_volume(grid, from_weak_perspective(camera), 64, 64).alpha[0, 0] > 0.05
    rows, columns = alpha.any(dim=1).nonzero(), alpha.any(dim=0).nonzero()
    extent = max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) / 64
    assert 0.7 < extent < 1.0
    assert abs(float(rows.float().mean()) - 31.5) < 3
    assert abs(float(columns.float().mean()) - 31.5) < 3
    empty = VolumeGrid(torch.zeros(1, 8, 8, 8), torch.zeros(1, 3, 8, 8, 8), kind="density")
    assert bool(torch.isfinite(framed_camera(empty, quaternion, 0.8).scale).all())


def test_views_are_recovered_from_the_bin_that_contains_them() -> None:
    """A prediction that is exactly the view, with all probability on it, has no error; a wrong one has."""
    turns = orbit_quaternions(torch.arange(4) * 90.0, torch.full((4,), 10.0))
    target = WeakPerspective(torch.ones(1), torch.zeros(1, 2), turns[1:2])
    for sure, least, most in ((1, 0.0, 1e-4), (3, 1.0, 100.0)):
        logits = torch.zeros(1, 4)
        logits[0, sure] = 30.0
        cameras = CameraHypotheses(torch.ones(1, 4), torch.zeros(1, 4, 2), turns[None], logits)
        assert least <= float(view_error(Encoded(torch.zeros(1, 2), cameras), target)) <= most


def test_a_surface_has_the_colour_that_a_ray_sees() -> None:
    """A red ball in a blue cloud too thin to be seen: blue at the surface itself, red in every picture of it."""

    class Ball(Volume):
        batch = torch.zeros(1)

        def raw(self, points: Tensor) -> Tensor:
            return 400 * (0.3 - points.norm(dim=-1))

        def features(self, points: Tensor) -> Tensor:
            inside = (points.norm(dim=-1) < 0.3)[..., None].to(points)
            return inside * points.new_tensor([1.0, 0, 0]) + (1 - inside) * points.new_tensor([0, 0, 1.0])

        def cells(self, resolution: int) -> tuple[Tensor, Tensor]:
            raise AssertionError("colours are read at points, not from a grid")

    ball = Ball(OccupancyGeometry(0.3, 0.1), 0.55, 32)
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    surface = 0.305 * directions
    assert float(ball.features(surface[None])[0][:, 2].min()) == 1
    scalars, colors = query(ball, surface)
    assert bool((colors[:, 0] > 0.6).all())
    torch.testing.assert_close(scalars, ball.values(surface[None])[0])
    empty = query(ball, torch.zeros(1, 3))[1]
    assert bool(torch.isfinite(empty).all())


def test_it_refuses_what_cannot_be_learned() -> None:
    config = catalogue.get("shelf/test").model
    with pytest.raises(DataError, match="from one image"):
        ShelfModel(config, 0, DatasetInfo(1))
    with pytest.raises(ConfigError, match="nothing in common"):
        ShelfConfig(camera=CameraConfig("bins"), views=ViewPriorConfig(elevation_deg=(-60.0, -30.0)))
    with pytest.raises(ConfigError, match="need image and text towers"):
        ShelfConfig(weights=ShelfWeights(caption=1.0))
    with pytest.raises(ConfigError, match="need azimuth bins"):
        ShelfConfig(weights=ShelfWeights(anchor=1.0))
    with pytest.raises(ConfigError, match="needs an anchor"):
        ShelfConfig(camera=CameraConfig("bins", distil_steps=5))
    with pytest.raises(ConfigError, match="below 0"):
        ShelfWeights(mask=-1.0)


def test_an_anchor_without_poses_is_refused() -> None:
    model = shelf("model.weights.anchor=1")
    with pytest.raises(ConfigError, match="no poses from a pose search"):
        model.losses("generator", images(model, 2), STEP, {})


def test_it_starts_from_a_pose_search_of_the_same_grid() -> None:
    searched = with_poses(shelf("model.weights.anchor=1"))
    state = {f"posterior.{name}": value for name, value in searched.network.poses.state_dict().items()}
    model = shelf("model.weights.anchor=1")
    model.load_pretrained(state, "runs/poses")
    assert model.network.poses is not None
    assert bool(model.network.poses.ready)
    other = shelf("model.weights.anchor=1", "model.poses.match_px=24")
    with pytest.raises(CheckpointError, match="different sizes"):
        other.load_pretrained(state, "runs/poses")
    with pytest.raises(CheckpointError, match="not finished"):
        model.load_pretrained({**state, "posterior.ready": torch.tensor(False)}, "runs/poses")


def test_empty_and_full_masks_have_finite_losses() -> None:
    model = shelf()
    batch = images(model, 2)
    masks = torch.stack([torch.zeros_like(batch["mask"][0]), torch.ones_like(batch["mask"][0])])
    batch = replace(batch, fields={**batch.fields, "mask": masks})
    for term in model.losses("generator", batch, STEP, {}).terms:
        assert bool(torch.isfinite(term.share)), term.name


OTHERS = (
    *("adversarial", "feature_matching", "path_length", "latent_consistency", "view_consistency"),
    *("camera_use", "smoothness", "structure", "similarity"),
)


def test_it_learns_planted_shapes_and_not_only_their_outline() -> None:
    """Ellipsoids with known poses as the anchor: reconstructions overlap silhouettes from sides that were not shown."""
    torch.manual_seed(0)
    model = shelf(
        *(f"model.weights.{name}=0" for name in OTHERS),
        "model.weights.anchor=1",
        "model.weights.rgb=1",
        "model.weights.mask=1",
        "model.camera.num_hypotheses=12",
        "model.volume.symmetric=true",
    )
    with_poses(model)
    batch = ellipsoids(NUM_IMAGES, model.config.image_px)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)

    def overlap() -> float:
        state = ForwardState(model.network, batch, STEP)
        with torch.no_grad():
            seen, truth = state.seen.alpha > 0.5, state.images.alpha > 0.5
        return float(((seen & truth).sum() / (seen | truth).sum()).item())

    before = overlap()
    for step in range(120):
        optimizer.zero_grad()
        terms = model.losses("generator", batch, StepInfo(step, 120), {}).terms
        sum(term.share * term.weight for term in terms).backward()  # type: ignore[union-attr]
        optimizer.step()
    assert overlap() > max(before + 0.1, 0.8)
    # The ellipsoids are 0.7 : 0.6 : 1 across, up, front to back; a relief of one view would not be.
    with torch.no_grad():
        grid = model.network.decode(model.network.encode(batch["image"]).latent).bake()
    solid = grid.density > 0.5
    extents = torch.stack(
        [solid.any(dim=other).any(dim=other_2).sum(dim=1) for other, other_2 in ((2, 2), (1, 2), (1, 1))], dim=1
    ).float()
    across, up, deep = extents.mean(dim=0).tolist()
    assert deep > 1.1 * across
    assert deep > 1.1 * up
