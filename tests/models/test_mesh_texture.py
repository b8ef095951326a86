"""The mesh-texture model: its terms, its template, its cameras, overfitting, and restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Mesh
from raylift.evaluation.validation import picture_score
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.camera_hypotheses import CameraHypotheses, orbit_quaternions
from raylift.geometry.cameras import project
from raylift.losses.unseen_texture import seen_faces, seen_texels
from raylift.models import catalogue
from raylift.models.mesh_texture.cameras import framed_camera, mirrored_cameras, roll_error
from raylift.models.mesh_texture.forward_state import ForwardState
from raylift.models.mesh_texture.model import MeshTextureModel
from raylift.models.mesh_texture.network import in_world_frame
from raylift.models.mesh_texture.part_terms import part_points
from raylift.models.mesh_texture.view_terms import random_views
from raylift.models.mesh_texture.weights import MeshTextureWeights
from raylift.rendering import soft_listed
from raylift.rendering.face_lists import FaceLists, face_lists
from raylift.testing.gradients import wake
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import fit
from raylift.training.plan import FitPlan, RunIdentity
from tests.models.interrupted import interrupted
from tests.models.mesh_texture_samples import FACTS, NUM_IMAGES, ellipsoids, feed, rows, with_poses
from tests.rendering.nearest_faces import nearest_faces

TESTS = [name for name in catalogue.names() if name.startswith("mesh_texture/") and "-test" in name]
PARTS = ("model.parts.use=always", "model.weights.part_chamfer=1", "model.weights.part_probability=1")


def build(name: str, *overrides: str) -> tuple[Recipe, MeshTextureModel]:
    recipe = catalogue.get(name, overrides)
    model = catalogue.build_model(recipe, FACTS)
    assert isinstance(model, MeshTextureModel)
    with_poses(model)
    return recipe, model


def train(
    recipe: Recipe,
    model: MeshTextureModel,
    num_steps: int,
    store: CheckpointStore | None = None,
    killed_after: int | None = None,
    num_images: int = NUM_IMAGES,
) -> None:
    batches = interrupted(feed(recipe.model.image_px, recipe.data.batch_size, num_images), killed_after)
    fit(
        model,
        batches,
        FitPlan(
            recipe.optimizers,
            recipe.schedule,
            num_steps,
            epoch_of=lambda step: step * recipe.data.batch_size // num_images,
            seed=recipe.seed,
            checkpoints=store,
            identity=RunIdentity(recipe.to_dict(), info=FACTS.to_dict()),
        ),
    )


@pytest.mark.parametrize("name", TESTS)
def test_every_weighted_term_is_there_and_finite(name: str) -> None:
    """And counts with its own weight, once its epoch has come and parts, keypoints and moments are known."""
    recipe, model = build(name, "model.camera.distil_steps=0", *(PARTS if "stage2" in name else ()))
    batch = ellipsoids(NUM_IMAGES, recipe.model.image_px)
    weights: MeshTextureWeights = recipe.model.weights
    for step_info in (StepInfo(0, 10), StepInfo(1, 10, epoch=50)):
        found: dict[str, float] = {}
        carry: dict[str, Tensor] = {}
        for phase in model.phases:
            output = model.losses(phase.name, batch, step_info, carry)
            assert all(bool(torch.isfinite(term.share)) for term in output.terms)
            found |= {term.name: term.weight for term in output.terms}
            carry |= output.carry
        assert {name for name, value in vars(weights).items() if value > 0} <= set(found)
        if step_info.step == 0:
            assert found.get("deform", 0.0) == (0.0 if recipe.model.terms.deform_from else weights.deform)
            model.after_step(StepInfo(0, 1, epoch=1), carry)
    wanted = {name: value for name, value in vars(weights).items() if value > 0}
    wanted |= dict.fromkeys(wanted.keys() & {"orientation", "upright"}, 0.0)
    if "adversarial" in wanted:
        wanted["adversarial"] *= recipe.model.critic.reversal
    assert {name: found[name] for name in wanted} == wanted


def test_terms_follow_the_epochs() -> None:
    _, model = build("mesh_texture/umr-test.stage1", "model.weights.upright=0.4")
    batch = rows(ellipsoids(NUM_IMAGES, 32), [0, 1])
    weights = [
        {term.name: term.weight for term in model.losses("generator", batch, StepInfo(0, 10, epoch), {}).terms}
        for epoch in (0, 2, 3, 4, 5)
    ]
    assert [step["orientation"] > 0 for step in weights] == [True, True, False, False, False]
    assert [step["upright"] > 0 for step in weights] == [True, True, False, False, False]
    assert [step["deform"] > 0 for step in weights] == [False, False, False, False, True]


def test_a_handful_of_images_is_learned() -> None:
    """Four images, 240 steps: mask IoU of 0.9, and colours within 0.1 on the mask."""
    recipe, model = build(
        "mesh_texture/umr-test.stage1",
        "model.shape.level=2",
        "model.shape.refresh_every=40",
        "model.weights.adversarial=0",
        "model.weights.deform=0",
        "model.weights.reconstruction=6",
        "model.weights.orientation=0",
        "model.weights.upright=0.4",
        "model.terms.upright_until=1000",
        "optimizers.default.learning_rate=0.004",
        # The test recipe's blur of half a pixel is felt beyond the outline, and the mesh shrinks by as much.
        "model.render.sigma=1e-4",
    )
    train(recipe, model, 240, num_images=4)
    batch = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
    model.eval()
    with torch.no_grad():
        found = model.reconstruct(batch)
    model.train()
    pictures = zip(found, batch["image"].numpy(), batch["mask"].numpy(), strict=True)
    assert sum(picture_score(*one)["mask_iou"] for one in pictures) / len(found) > 0.9
    with torch.no_grad():
        state = ForwardState(model.network, batch, StepInfo(0, 1))
        error = (state.picture - state.image).abs().mean(dim=1)
        assert float((error * state.mask).sum() / state.mask.sum()) < 0.1


def test_equation_2_silhouettes_are_of_template_and_offsets_by_each_camera() -> None:
    _, model = build("mesh_texture/umr-test.stage2", "model.shape.level=2", "model.render.sigma=1e-5")
    wake(model)
    network, batch = model.network, ellipsoids(2, 32)
    with torch.no_grad():
        network.template.positions *= torch.tensor([0.6, 1.0, 1.4])
        feature = network.encoder(batch["image"])
        shapes = network.template.vertices + network.template.expand(network.shape(feature))
        silhouettes = ForwardState(network, batch, StepInfo(0, 1)).silhouettes
        for hypothesis in range(3):
            cameras = from_weak_perspective(network.camera(feature).pick(torch.full((2,), hypothesis)))
            for index in range(2):
                seen = nearest_faces(shapes[index], network.template.faces, cameras[index], 32).face[0] >= 0
                differ = (silhouettes[index, hypothesis] > 0.5) != seen
                assert float(differ.float().mean()) < 0.01
        covered = silhouettes.flatten(0, 1).flatten(1)
        assert torch.pdist(covered, p=1).min() > 5.0, "images and cameras are told apart"


def test_a_picture_shows_the_seen_texels_and_a_random_view_others_too() -> None:
    """Equation 35 is 10, and 36 is what trains T_unseen."""
    views = ("model.views.source=range", "model.views.azimuth_deg=[0,360]")
    _, model = build("mesh_texture/umr-test.stage1", "model.render.texture_sigma=1e-6", *views)
    network, batch = model.network, ellipsoids(2, 32)
    state = ForwardState(network, batch, StepInfo(0, 1, seed=3))
    texture = state.texture.detach().requires_grad_()
    state.__dict__["texture"] = texture
    faces = seen_faces(state.view.nearest_faces, len(network.template.faces))
    seen = seen_texels(faces, network.texel_face)[:, None]
    views = [random_views(replace(state, step_info=StepInfo(step, 1, seed=3)), True, False) for step in (0, 1)]
    assert not torch.equal(views[0].rgb, views[1].rgb), "each step has cameras of its own"

    def share_of_seen(picture: torch.Tensor) -> float:
        """Of the texels' gradients; those on the edge of a seen face belong to an unseen one in part."""
        (gradient,) = torch.autograd.grad(picture.sum(), texture, retain_graph=True)
        return float((gradient * seen).sum() / gradient.sum())

    assert share_of_seen(state.picture) > 0.9
    other = random_views(state, True, False).rgb
    assert other is not None
    assert share_of_seen(other) < 0.7


def test_reconstructions_are_in_the_world_frame_and_look_like_what_was_trained() -> None:
    _, model = build("mesh_texture/umr-test.stage1", "model.shape.level=2")
    with torch.no_grad():
        model.network.shape.last.weight.normal_(std=0.05)
        model.network.camera.head.weight.normal_(std=0.3)
    batch = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
    model.eval()
    with torch.no_grad():
        state = ForwardState(model.network, batch, StepInfo(0, 1))
        found = model.reconstruct(batch)
    vertices, faces = state.decoded.vertices.detach(), model.network.template.faces
    for index, reconstruction in enumerate(found):
        seen = nearest_faces(vertices[index], faces, state.camera[index], 32).face[0] >= 0
        assert isinstance(reconstruction.shape, Mesh)
        placed = reconstruction.shape.vertices
        low, high = placed.amin(dim=0), placed.amax(dim=0)
        torch.testing.assert_close((high - low).max(), torch.tensor(1.0))
        torch.testing.assert_close(low + high, torch.zeros(3), atol=1e-5, rtol=0)
        again = nearest_faces(placed, reconstruction.shape.faces, reconstruction.camera, 32).face[0] >= 0
        assert float((again != seen).float().mean()) < 0.003


def test_texels_read_outside_of_the_object_get_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """In reconstructions, wherever the flow points, no texel is the background's white; unless that is asked for."""
    for from_object in (True, False):
        recipe, model = build("mesh_texture/umr-test.stage1", f"model.texture.from_object={str(from_object).lower()}")
        batch = ellipsoids(2, recipe.model.image_px)
        assert model.request.object_colors == from_object
        decoded = model.network.decode(batch)
        corners = replace(decoded, flow=torch.full_like(decoded.flow, -0.97))
        monkeypatch.setattr(model.network, "decode", lambda batch, corners=corners: corners)
        texture = torch.stack([mesh.texture for mesh, _ in model.network.reconstruct(batch)])
        is_white = bool((texture == 1).all())
        assert is_white != from_object
        # One pixel is read, so its colour is everywhere: that of the pixel of the object nearest to the corner.
        expected = batch["object_colors"][:, :, 0, 0] if from_object else torch.ones(2, 3)
        torch.testing.assert_close(texture.mean(dim=(1, 2)), expected)
        # Training reads the image, background and all.
        assert bool((ForwardState(model.network, batch, StepInfo(step=3, num_steps=10, epoch=9)).texture == 1).all())


def reached_by(model: MeshTextureModel, term: str, batch: Batch) -> set[str]:
    """Which parts of the network a term's gradient reaches."""
    terms = model.losses("generator", batch, StepInfo(step=3, num_steps=10, epoch=9), {}).terms
    (share,) = (found.share for found in terms if found.name == term)
    model.zero_grad()
    share.backward()
    return {
        part
        for part, module in model.network.named_children()
        if any(value.grad is not None and bool(value.grad.any()) for value in module.parameters())
    }


@pytest.mark.parametrize("moves_shape", [False, True])
@pytest.mark.parametrize("moves_camera", [False, True])
def test_reconstruction_moves_what_it_may(moves_shape: bool, moves_camera: bool) -> None:
    recipe, model = build(
        "mesh_texture/umr-test.stage1",
        "model.weights.reconstruction=3",
        f"model.texture.moves_shape={str(moves_shape).lower()}",
        f"model.texture.moves_camera={str(moves_camera).lower()}",
    )
    wanted = {"encoder", "flow"} | ({"shape"} if moves_shape else set()) | ({"camera"} if moves_camera else set())
    assert reached_by(model, "reconstruction", ellipsoids(2, recipe.model.image_px)) == wanted


@pytest.mark.parametrize("term", ["align", "cycle"])
def test_alignment_trains_the_flow_alone(term: str) -> None:
    """With the face centroids' gradient it pulls every camera to where the flow reads already: the front."""
    recipe, model = build("mesh_texture/umr-test.stage1", f"model.weights.{term}=1")
    assert reached_by(model, term, ellipsoids(2, recipe.model.image_px)) == {"encoder", "flow"}


def test_equation_31_alone_trains_the_variance_decoder() -> None:
    """Any colour term that reached it would repaint the image instead; and 31 reaches it with more than rounding."""
    _, model = build("mesh_texture/adaptive-test.stage2", "model.frechet.num_real=4", "model.weights.align=1")
    batch = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
    carry = model.losses("generator", batch, StepInfo(0, 10), {}).carry
    model.after_step(StepInfo(0, 10), carry)
    assert model.network.variance is not None
    parameters = list(model.network.variance.parameters())
    reached = {}
    for term in model.losses("generator", batch, StepInfo(1, 10, 1), {}).terms:
        slopes = torch.autograd.grad(
            term.share, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        reached[term.name] = float(torch.cat([slope.flatten() for slope in slopes]).norm())
    assert {"reconstruction", "adversarial", "frechet", "searched", "align"} <= set(reached)
    assert {name for name, norm in reached.items() if norm > 0} == {"pseudo_label"}
    assert reached["pseudo_label"] > 0.1


def test_one_flow_satisfies_a_frontal_view_of_a_symmetric_texture() -> None:
    """A flow that reads each counted face where it is seen leaves no error: both sides together would leave 15 px."""
    _, model = build("mesh_texture/umr-test.stage1", "model.shape.level=2")
    batch = ellipsoids(NUM_IMAGES, 32).select(slice(0, 4))
    with torch.no_grad():
        state = ForwardState(model.network, batch, StepInfo(0, 1))
        seen, mirror = state.centroids, model.network.template.mirror_face
        pairs = mirror != torch.arange(len(mirror))
        assert not bool((seen.is_seen & seen.is_seen[:, mirror])[:, pairs].any())
        weight = torch.nn.functional.one_hot(state.view.nearest_faces.clamp(min=0), len(mirror))
        never_nearest = weight.flatten(1, 2).sum(dim=1) == 0
        assert float(seen.weight[never_nearest].sum()) < 0.01 * float(seen.weight.sum())


def test_moving_into_the_world_frame_moves_no_point_of_the_picture() -> None:
    vertices = torch.rand(20, 3) + torch.tensor([0.5, -0.2, 0.1])
    camera = WeakPerspective(torch.tensor([0.8]), torch.tensor([[0.1, -0.3]]), torch.tensor([[0.8, 0.1, -0.5, 0.3]]))
    placed, moved = in_world_frame(vertices, camera)
    before, _ = project(from_weak_perspective(camera), vertices[None])
    after, _ = project(from_weak_perspective(moved), placed[None])
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_a_mirrored_camera_sees_the_mirrored_world_mirrored() -> None:
    points = torch.randn(1, 10, 3)
    quaternion = torch.nn.functional.normalize(torch.randn(1, 1, 4), dim=-1)
    cameras = CameraHypotheses(torch.tensor([[1.3]]), torch.tensor([[[0.2, -0.1]]]), quaternion, torch.zeros(1, 1))
    mirrored = mirrored_cameras(cameras, torch.tensor([True]))
    seen, depth = project(cameras.cameras(), points)
    other, other_depth = project(mirrored.cameras(), points * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(other, seen * torch.tensor([-1.0, 1.0]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other_depth, depth)
    same = mirrored_cameras(cameras, torch.tensor([False]))
    assert torch.equal(same.quaternion, cameras.quaternion)


def test_random_views_are_framed_like_crops() -> None:
    vertices = torch.randn(3, 30, 3)
    quaternion = orbit_quaternions(torch.tensor([0.0, 70.0, 200.0]), torch.tensor([0.0, 20.0, -10.0]))
    uv, _ = project(from_weak_perspective(framed_camera(vertices, quaternion, 0.9)), vertices)
    low, high = uv.amin(dim=1), uv.amax(dim=1)
    torch.testing.assert_close((high - low).amax(dim=1), torch.full((3,), 1.8))
    torch.testing.assert_close(low + high, torch.zeros(3, 2), atol=1e-5, rtol=0)


def test_roll_is_what_an_upright_camera_has_not() -> None:
    upright = orbit_quaternions(torch.tensor([0.0, 120.0]), torch.tensor([40.0, -20.0]))
    torch.testing.assert_close(roll_error(upright), torch.zeros(2), atol=1e-4, rtol=0)
    upside_down = torch.tensor([[1.0, 0.0, 0.0, 0.0]])  # the world's up is the image's down
    torch.testing.assert_close(roll_error(upside_down), torch.tensor([2.0]), atol=1e-4, rtol=0)


def test_a_refresh_changes_the_template_and_no_shape() -> None:
    _, model = build("mesh_texture/umr-test.stage1")
    batch = ellipsoids(NUM_IMAGES, 32)
    with torch.no_grad():
        model.network.shape.last.weight.normal_(std=0.05)
    before = model.network.decode(batch)
    template = model.network.template
    sphere = template.vertices.clone()
    template.keep_features(batch["image_index"], before.feature.detach())
    template.refresh(model.network.shape)
    after = model.network.decode(batch)
    torch.testing.assert_close(after.vertices, before.vertices)
    assert float((template.vertices - sphere).norm(dim=1).max()) > 1e-3
    # D_shape is linear here, so offsets from the mean's shape are zero in the mean.
    torch.testing.assert_close(after.offsets.mean(dim=0), torch.zeros_like(sphere), atol=1e-5, rtol=0)


def test_the_template_is_refreshed_by_epochs_and_at_the_end() -> None:
    recipe, model = build("mesh_texture/umr-test.stage1")
    assert recipe.model.shape.refresh_every == 2
    batch = ellipsoids(NUM_IMAGES, 32)
    sphere = model.network.template.vertices.clone()
    changed = []
    for step in range(5):
        carry = model.losses("generator", batch, StepInfo(step, 5, epoch=step), {}).carry
        with torch.no_grad():
            model.network.shape.last.bias += 0.01
        model.after_step(StepInfo(step, 5, epoch=step), carry)
        changed.append(not torch.equal(model.network.template.vertices, sphere))
        sphere = model.network.template.vertices.clone()
    assert changed == [False, False, True, False, True]


def test_vertices_learn_their_parts_from_maps() -> None:
    _, model = build("mesh_texture/umr-test.stage1", "model.shape.level=2", *PARTS)
    batch = ellipsoids(NUM_IMAGES, 32)
    carry = model.losses("generator", batch, StepInfo(0, 1), {}).carry
    model.after_step(StepInfo(0, 1), carry)
    template = model.network.template
    assert template.has_parts
    parts, up, voted = template.vertex_parts(), template.vertices[:, 1], template.parts[1:].sum(dim=0) > 0
    assert float(voted.float().mean()) > 0.15, "the first cameras all see the front of a ball larger than the objects"
    assert bool(parts[0, voted & (up > 0.1)].all())
    assert bool(parts[1, voted & (up < -0.1)].all())
    assert not bool(parts[:, ~voted].any()), "whose votes are none, or all for the background"
    terms = {term.name: term for term in model.losses("generator", batch, StepInfo(1, 2), {}).terms}
    assert float(terms["part_chamfer"].share.detach()) > 0
    assert terms["part_chamfer"].weight == 1.0
    assert 0 < float(terms["part_probability"].share.detach()) < 0.2


def test_part_points_lie_in_their_parts_and_belong_to_samples() -> None:
    batch = ellipsoids(NUM_IMAGES, 32)
    points, exist = part_points(batch["parts"], batch.keys, 0, 5, (3, 7))
    assert points.shape == (NUM_IMAGES, 2, 7, 2)
    assert exist.sum(dim=2).tolist() == [[3, 7]] * NUM_IMAGES
    assert bool((points[:, 0, :3, 1] < 0).all())
    assert bool((points[:, 1, :, 1] > 0).all())
    again, _ = part_points(batch["parts"][3:5], batch.keys[3:5], 0, 5, (3, 7))
    assert torch.equal(again, points[3:5])
    _, none = part_points(torch.zeros(1, 3, 8, 8), batch.keys[:1], 0, 5, (3, 7))
    assert not bool(none.any())


def test_stage_two_starts_from_stage_one() -> None:
    _, first = build("mesh_texture/umr-test.stage1", *PARTS)
    batch = ellipsoids(NUM_IMAGES, 32)
    carry = first.losses("generator", batch, StepInfo(0, 1), {}).carry
    with torch.no_grad():
        first.network.shape.last.bias += 0.03
    first.after_step(StepInfo(0, 1), carry)
    _, second = build("mesh_texture/umr-test.stage2", *PARTS, "model.parts.learn=false")
    base = second.network.camera.base.clone()
    second.load_pretrained(first.state_dict(), "there")
    ours, theirs = second.network.template, first.network.template
    assert torch.equal(ours.positions, theirs.positions)
    assert torch.equal(ours.parts, theirs.parts)
    assert torch.equal(second.network.flow.decoder.spread.weight, first.network.flow.decoder.spread.weight)
    assert torch.equal(second.network.camera.base, base), "eight cameras do not fit one, and start anew"
    carry = second.losses("generator", batch, StepInfo(0, 1), {}).carry
    second.after_step(StepInfo(0, 1), carry)
    assert torch.equal(ours.positions, theirs.positions), "stage two keeps its template"
    assert torch.equal(ours.parts, theirs.parts)


def test_what_does_not_fit_is_refused() -> None:
    _, first = build("mesh_texture/umr-test.stage1")
    _, finer = build("mesh_texture/umr-test.stage2", "model.shape.level=2")
    with pytest.raises(CheckpointError, match="positions"):
        finer.load_pretrained(first.state_dict(), "there")
    _, keeper = build("mesh_texture/umr-test.stage2", *PARTS, "model.parts.learn=false")
    with pytest.raises(CheckpointError, match="parts"):
        keeper.load_pretrained(first.state_dict(), "there")
    recipe = catalogue.get("mesh_texture/umr-test.stage1", PARTS)
    with pytest.raises(ConfigError, match="no part maps"):
        catalogue.build_model(recipe, DatasetInfo(NUM_IMAGES))
    with pytest.raises(ConfigError, match="needs trained probabilities"):
        catalogue.get("mesh_texture/ucmr-test", ["model.weights.camera_entropy=1"])
    with pytest.raises(ConfigError, match="jitter"):
        catalogue.get("mesh_texture/ucmr-test", ["model.jitter=0.05"])
    with pytest.raises(DataError, match="image 7, but the training set has 3 images"):
        catalogue.build_model(catalogue.get("mesh_texture/umr-test.stage1"), DatasetInfo(3)).losses(
            "generator", ellipsoids(NUM_IMAGES, 32), StepInfo(0, 1), {}
        )


def test_a_multiplex_is_pruned_by_epochs() -> None:
    recipe, model = build("mesh_texture/ucmr-test", "model.camera.prune_epochs=[1,3]")
    multiplex = model.network.multiplex
    assert multiplex is not None
    batch, left = ellipsoids(NUM_IMAGES, 32), []
    for epoch in range(4):
        carry = model.losses("generator", batch, StepInfo(epoch, 10, epoch), {}).carry
        model.after_step(StepInfo(epoch, 10, epoch), carry)
        left.append(int(multiplex.num_kept))
    assert left == [6, 4, 4, 2]
    assert recipe.model.camera.keep == 2


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("umr-test.stage1", ("model.views.source=learned",)),
        ("adaptive-test.stage2", ("model.camera.pictures=drawn",)),
        ("ucmr-test", ()),
    ],
)
def test_a_restart_is_invisible(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    """Killed after five steps, between two checkpoints: weights, template, tables and moments are the same bits."""
    recipe, whole = build(f"mesh_texture/{name}", *overrides)
    train(recipe, whole, 7)
    store = CheckpointStore(tmp_path)
    _, killed = build(f"mesh_texture/{name}", *overrides)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, killed, 7, store, killed_after=5)
    _, resumed = build(f"mesh_texture/{name}", *overrides)
    train(recipe, resumed, 7, store)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_a_model_is_built_again_from_its_checkpoint(tmp_path: Path) -> None:
    recipe, model = build("mesh_texture/ucmr-test")
    store = CheckpointStore(tmp_path)
    train(recipe, model, 1, store)
    entry = store.last()
    assert entry is not None
    assert DatasetInfo.from_dict(entry.info) == FACTS
    store.read(entry).load_weights(catalogue.build_model(recipe, DatasetInfo.from_dict(entry.info)))


@pytest.mark.parametrize("symmetric", [True, False])
def test_symmetry_is_a_choice(symmetric: bool) -> None:
    _, model = build("mesh_texture/umr-test.stage1", f"model.shape.symmetric={str(symmetric).lower()}")
    template = model.network.template
    assert (template.num_predicted == template.num_vertices) == (not symmetric)
    wake(model, std=0.1)
    vertices = model.network.decode(ellipsoids(2, 32)).vertices.detach()
    mirrored = vertices * torch.tensor([-1.0, 1.0, 1.0])
    apart = torch.cdist(mirrored.double(), vertices.double()).amin(dim=2).amax()
    assert (float(apart) < 1e-6) == symmetric


def test_what_a_step_draws_of_its_shapes_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, searched pictures, centroids of all cameras: one search. Parts and random views: two others."""
    _, model = build("mesh_texture/adaptive-test.stage2", *PARTS)
    seen = []

    def counted(screen: torch.Tensor, *settings: object) -> FaceLists:
        seen.append(len(screen))
        return face_lists(screen, *settings)

    monkeypatch.setattr(soft_listed, "face_lists", counted)
    batch = rows(ellipsoids(NUM_IMAGES, 32), [0, 1])
    terms = {term.name for term in model.losses("generator", batch, StepInfo(0, 10), {}).terms}
    assert {"reconstruction", "cycle", "searched", "part_probability", "frechet"} <= terms
    num_cameras = 2 * model.network.camera.num_hypotheses
    assert seen == [num_cameras, num_cameras, 2]
