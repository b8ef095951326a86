"""Neural textured meshes: what is sampled, what the banks learn, what trains what, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.core.generators import stable_hash
from raylift.core.step_info import StepInfo
from raylift.core.stopwatch import Stopwatch
from raylift.core.types import Batch
from raylift.geometry.octahedral import directions_of
from raylift.losses.surface_contrast import ContrastWeights
from raylift.models import catalogue
from raylift.models.dmnt.augmentation import Augmentation, AugmentationConfig
from raylift.models.dmnt.config import DmntConfig
from raylift.models.dmnt.inference.stages import STAGES
from raylift.models.dmnt.model import DmntModel
from raylift.models.dmnt.sampling import drawn_places
from raylift.models.dmnt.weights import ContrastConfig
from raylift.networks.neural_texture import NeuralTextureConfig
from raylift.rendering.uv_fragments import uv_fragments
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.gradients import wake
from raylift.testing.laws import ModelLaws

SIZE = 5
STEP = StepInfo(0, 8)


class TestDirectReading(ModelLaws):
    """What the smallest recipe leaves out: the texture read at each cell."""

    recipe: ClassVar = "dmnt/test"
    overrides: ClassVar = ("model.contrast.reading=direct",)
    worlds: ClassVar = ()
    test_many_ranks_equal_one: ClassVar = None  # tests/models/test_world_size.py
    reach: ClassVar = {"contrast": {"features", "latents"}, "latent_size": {"latents"}}


class TestTransform(TestDirectReading):
    overrides: ClassVar = ()


class TestWithoutUvGradient(TestDirectReading):
    overrides: ClassVar = ("model.contrast.uv_gradient=false",)
    reach: ClassVar = {"contrast": {"features"}}


def model_of(*overrides: str) -> DmntModel:
    found = catalogue.build_model(catalogue.get("dmnt/test", overrides), DatasetInfo(SIZE, categories=CATEGORIES))
    assert isinstance(found, DmntModel)
    wake(found)
    return found.train()


def trained(model: DmntModel, batch: Batch, steps: int) -> list[float]:
    """Own-place probability at each of some steps on one batch."""
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], 3e-3)
    found = []
    for step in range(steps):
        moment = StepInfo(step, steps)
        output = model.losses("fit", batch, moment, {})
        optimizer.zero_grad()
        output.terms[0].share.backward()
        optimizer.step()
        model.after_step(moment, output.carry)
        found.append({term.name: float(term.share.detach()) for term in output.terms}["own_place"])
    return found


def test_features_find_their_places() -> None:
    """On a few images that it has seen, the model finds places, categories and the background far above chance."""
    model = model_of("model.contrast.reading=direct", "model.augmentation.mirror=false")
    batch = synthetic_batch(model.request, SIZE).select(slice(0, 3))
    found = trained(model, batch, 60)
    assert found[-1] > 10 * found[0]
    scores = {name: float(value.mean()) for name, value in model.eval().scores(batch).items()}
    assert scores["right_category"] > 0.8
    assert scores["place_if_told"] > 0.8
    assert scores["object_above_clutter"] + scores["clutter_above_object"] > 1.8


def test_a_mirrored_image_shows_the_mirrored_object() -> None:
    """Surface coordinates of a mirrored image are those that the mirrored mesh and camera give."""
    model = model_of()
    batch = synthetic_batch(model.request, SIZE)
    templates = model.network.templates
    vertices = templates(torch.tensor([0, 1, 2, 0, 0]), 0.5 * torch.ones(SIZE, 4))
    assert batch.camera is not None
    camera, flip = batch.camera, torch.tensor([-1.0, 1.0, 1.0])
    mirror = replace(
        camera,
        principal=camera.principal * flip[:2],
        rotation=flip[:, None] * camera.rotation * flip,
        translation=camera.translation * flip,
    )
    direct = uv_fragments(vertices * flip, templates.faces, templates.corner_uvs, mirror, 16)
    # The chart of the mirrored mesh, whose vertices keep their numbers, is not mirrored yet.
    ours = uv_fragments(vertices, templates.faces, templates.corner_uvs, camera, 16)
    change = replace(Augmentation.drawn(AugmentationConfig(), batch.keys, STEP), mirrored=torch.arange(SIZE) < 3)
    found = change.fragments(ours)
    assert torch.equal(found.mask[:3], direct.mask[:3])
    wanted = torch.stack([1 - direct.uv[..., 0], direct.uv[..., 1]], dim=-1)
    torch.testing.assert_close(found.uv[:3][direct.mask[:3]], wanted[:3][direct.mask[:3]], atol=1e-4, rtol=0)
    assert torch.equal(found.uv[3:], ours.uv[3:])
    torch.testing.assert_close(
        directions_of(wanted[direct.mask]), directions_of(direct.uv[direct.mask]) * flip, atol=1e-5, rtol=0
    )


def test_changes_of_images_are_keyed_by_sample() -> None:
    config = AugmentationConfig(mirror=True, color=0.4, grey=0.8)
    keys, image = torch.arange(6), torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    change = Augmentation.drawn(config, keys, STEP)
    found = change.image(image)
    again = Augmentation.drawn(config, keys.flip(0), STEP).image(image.flip(0)).flip(0)
    assert torch.equal(found, again)
    assert 0 < int(change.mirrored.sum()) < 6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert not torch.equal(found, Augmentation.drawn(config, keys, StepInfo(1, 8)).image(image))
    assert torch.equal(Augmentation.drawn(AugmentationConfig(), keys, STEP).image(image), image)
    with pytest.raises(ConfigError, match="grey"):
        AugmentationConfig(grey=2.0)


def test_an_image_of_no_category_is_background() -> None:
    model = model_of()
    batch = synthetic_batch(model.request, SIZE)
    alone = batch.select(slice(4, 5))
    assert batch["category"].tolist() == [0, 1, 2, 0, -1]
    carry = model.losses("fit", alone, STEP, {}).carry
    assert not carry["surface_valid"].any()
    assert carry["background_valid"].all()
    model.after_step(STEP, carry)
    assert not model.network.texture.seen.any()


def test_draws_are_keyed_by_sample() -> None:
    there = torch.rand(2, 30, generator=torch.Generator().manual_seed(0)) > 0.4
    keys = torch.tensor([7, 8])
    places, valid = drawn_places(there, 12, keys, STEP, "test")
    again, _ = drawn_places(there.flip(0), 12, keys.flip(0), STEP, "test")
    assert torch.equal(places, again.flip(0))
    assert torch.equal(there.gather(1, places), valid)
    assert all(len(set(row.tolist())) == 12 for row in places)
    later, _ = drawn_places(there, 12, keys, StepInfo(1, 8), "test")
    assert not torch.equal(places, later)


def test_counts_are_those_of_the_recipe() -> None:
    model = model_of("model.contrast.num_surface=3", "model.contrast.num_background=10")
    carry = model.losses("fit", synthetic_batch(model.request, SIZE), STEP, {}).carry
    assert carry["surface"].shape[:2] == (SIZE, 3)
    assert carry["background"].shape[:2] == (SIZE, 2)


def test_hidden_parts_are_no_surface() -> None:
    """Cells behind an occluder train the clutter, not the texture."""
    model = model_of("model.contrast.reading=direct")
    batch = synthetic_batch(model.request, SIZE)
    whole = model.losses("fit", batch, STEP, {}).carry["surface_valid"].sum(dim=1)
    mask = batch["mask"].clone()
    mask[..., : mask.shape[-1] // 2] = 0
    hidden = replace(batch, fields={**batch.fields, "mask": mask})
    seen = model.losses("fit", hidden, STEP, {}).carry["surface_valid"].sum(dim=1)
    assert bool((seen[:4] < whole[:4]).all())
    assert bool(seen.any())


def test_templates_come_from_their_run_by_name() -> None:
    model, other = model_of(), model_of()
    state = {f"templates.{name}": value for name, value in other.network.templates.state_dict().items()}
    state["templates.vertices"] = state["templates.vertices"] + 1
    model.load_pretrained(state, "there")
    assert torch.equal(model.network.templates.vertices, other.network.templates.vertices + 1)
    stiff = model_of("model.templates.deforms=false")
    stiff.load_pretrained(state, "there")
    assert torch.equal(stiff.network.templates.vertices, model.network.templates.vertices)
    with pytest.raises(CheckpointError, match="templates"):
        model.load_pretrained({"x": torch.zeros(1)}, "there")


def test_images_start_at_the_shapes_of_their_objects() -> None:
    """By name, as the templates' run has fitted them; the mean shape of the category for all others."""
    model = model_of("model.contrast.uv_gradient=false")
    batch = synthetic_batch(model.request, 3)
    batch = replace(batch, ids=("a/b@c@0-L1#0", "d#2", "unknown@1-L0#0"))
    rows = torch.arange(8.0).view(2, 4)
    state = {f"templates.{name}": value for name, value in model.network.templates.state_dict().items()}
    state |= {"object_keys": torch.tensor([stable_hash("d"), stable_hash("a/b@c")]), "latents": rows}
    model.load_pretrained(state, "there")
    mean = model.network.mean_latents(batch["category"])
    torch.testing.assert_close(model.network.training_latents(batch), torch.stack([rows[1], rows[0], mean[2]]))
    again = model_of("model.contrast.uv_gradient=false")
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.network.training_latents(batch), torch.stack([rows[1], rows[0], mean[2]]))
    means = model_of("model.start_shapes=mean", "model.contrast.uv_gradient=false")
    means.load_pretrained(state, "there")
    torch.testing.assert_close(means.network.training_latents(batch), mean)


def test_banks_that_were_never_seen_are_doubted() -> None:
    model = model_of()
    assert any("no training image showed" in text for text in model.doubts())
    assert any("no background" in text for text in model.doubts())
    model.network.texture.seen.fill_(1)
    model.network.texture.idle.zero_()
    assert model.doubts() == ()
    fresh = model_of().eval()
    with pytest.raises(DataError, match="ever seen"):
        fresh.recognise(synthetic_batch(fresh.request, 1))


def test_recognition_and_reconstruction_go_together() -> None:
    model = model_of()
    batch = synthetic_batch(model.request, SIZE)
    trained(model, batch, 2)
    model.eval()
    found = model.recognise(batch.select(slice(0, 2)))
    assert found.log_probs.shape == (2, len(CATEGORIES) + 1)
    assert found.amodal.shape == batch["mask"][:2].shape
    blind = replace(batch.select(slice(0, 2)), camera=None)
    assert torch.equal(model.recognise(blind).camera.rotation, found.camera.rotation)
    first, _ = model.reconstruct(blind)
    assert first.id == batch.ids[0]
    torch.testing.assert_close(first.camera.rotation, found.camera.rotation[:1].cpu())


def test_a_stopwatch_measures_every_stage_and_changes_nothing() -> None:
    model = model_of()
    batch = synthetic_batch(model.request, 2)
    trained(model, batch, 1)
    free = model.eval().recognise(batch)
    watch = model.stopwatch = Stopwatch()
    with watch.stage("whole"):
        measured = model.train().eval().recognise(batch)
    assert torch.equal(measured.log_probs, free.log_probs)
    whole = watch.seconds.pop("whole")
    assert tuple(watch.seconds) == STAGES
    assert min(watch.seconds.values()) >= 0
    assert 0 < sum(watch.seconds.values()) <= whole
    model.stopwatch = None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="categories"):
        catalogue.build_model(catalogue.get("dmnt/test"), DatasetInfo(SIZE))
    model = model_of()
    batch = synthetic_batch(model.request, SIZE)
    with pytest.raises(DataError, match="camera"):
        model.losses("fit", replace(batch, camera=None), STEP, {})
    far: dict[str, Tensor] = {**batch.fields, "image_index": batch["image_index"] + SIZE}
    with pytest.raises(DataError, match="image"):
        model.losses("fit", replace(batch, fields=far), STEP, {})
    with pytest.raises(ConfigError, match="image_px"):
        DmntConfig(image_px=100)
    with pytest.raises(ConfigError, match="clutter"):
        DmntConfig(
            contrast=ContrastConfig(weights=ContrastWeights(background=0.0)), texture=NeuralTextureConfig(num_clutter=1)
        )
