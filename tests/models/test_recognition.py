"""Recognition by a ResNet and by Mask R-CNN: the laws, what is told, the camera, and planted truths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import ObjectRecogniser
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.geometry.cameras import project
from raylift.geometry.framing import box_of_mask
from raylift.geometry.pose_grid import pose_angles, pose_quaternions
from raylift.geometry.rotations import quaternion_to_matrix, rotation_angle
from raylift.models import catalogue
from raylift.models.recognition.camera import CameraPrior
from raylift.models.recognition.config import RecognitionConfig, RecognitionWeights, TrunkConfig
from raylift.models.recognition.model import believed
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.laws import ModelLaws
from raylift.training.loop import fit
from raylift.training.plan import FitPlan
from tests.models.term_reach import table

STEP = StepInfo(step=3, num_steps=10, seed=5)
RECIPES = ("recognition/resnet-test", "recognition/mask-rcnn-test")
OF_OUTLINES = {
    RECIPES[0]: ("model.mirror=false", "model.image_px=64", "model.trunk.channels=32"),
    RECIPES[1]: ("model.mirror=false",),
}
"""For outlines that are worth a comparison: a ResNet's have a quarter of the image's side."""
README = Path(__file__).parents[2] / "platform" / "raylift" / "models" / "recognition" / "README.md"


class TestResNet(ModelLaws):
    recipe = "recognition/resnet-test"
    worlds: ClassVar = (2,)
    golden = Path(__file__).with_name("recognition_resnet_golden.json")
    reach: ClassVar = {
        "category": {"network.trunk.encoder", "network.category"},
        "pose": {"network.trunk.encoder", "network.pose.bins"},
        "pose_offset": {"network.trunk.encoder", "network.pose.offsets"},
        "amodal": {"network.trunk", "network.masks"},
        "visible": {"network.trunk", "network.masks"},
    }


class TestMaskRCNN(ModelLaws):
    recipe = "recognition/mask-rcnn-test"
    worlds: ClassVar = (2,)
    golden = Path(__file__).with_name("recognition_mask_rcnn_golden.json")
    reach: ClassVar = {
        "category": {"network.trunk", "network.box_head", "network.predictor.cls_score"},
        "box": {"network.trunk", "network.box_head", "network.predictor.bbox_pred"},
        "amodal": {"network.trunk", "network.mask_head"},
        "pose": {"network.trunk", "network.box_head", "network.pose.bins"},
        "pose_offset": {"network.trunk", "network.box_head", "network.pose.offsets"},
        "objectness": {"network.trunk", "network.proposals.head.conv", "network.proposals.head.cls_logits"},
        "proposal": {"network.trunk", "network.proposals.head.conv", "network.proposals.head.bbox_pred"},
    }


TestResNet.together = TestMaskRCNN.together = (TestResNet, TestMaskRCNN)


@pytest.mark.parametrize("laws", [TestResNet, TestMaskRCNN])
def test_the_readme_has_the_table_of_terms(laws: type[ModelLaws]) -> None:
    reach = {term: {name.removeprefix("network.") for name in names} for term, names in (laws.reach or {}).items()}
    columns = dict.fromkeys(name for names in reach.values() for name in sorted(names))
    assert table(reach, columns) in README.read_text(), table(reach, columns)


def recogniser(recipe: str, *overrides: str) -> ObjectRecogniser:
    model = catalogue.build_model(catalogue.get(recipe, overrides), DatasetInfo(categories=CATEGORIES))
    assert isinstance(model, ObjectRecogniser)
    return model


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recognition_has_probabilities_masks_and_a_camera_in_front(recipe: str) -> None:
    model = recogniser(recipe).eval()
    batch = synthetic_batch(model.request, 3)
    said = model.recognise(batch)
    assert model.categories == CATEGORIES
    torch.testing.assert_close(said.log_probs.exp().sum(1), torch.ones(3))
    assert said.log_probs.shape == (3, len(CATEGORIES) + 1)
    for mask in (said.amodal, said.visible, said.occluder):
        assert mask.shape == batch["mask"].shape
        assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    torch.testing.assert_close(said.occluder, (said.amodal - said.visible).clamp(min=0))
    assert bool((said.camera.translation[:, 2] > 0).all())
    assert not said.log_probs.requires_grad


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_told_category_decides_the_pose_and_not_the_class(recipe: str) -> None:
    model = recogniser(recipe, "model.pose.per_category=true").eval()
    batch = synthetic_batch(model.request, 3)
    free = model.recognise(batch)
    own = free.log_probs[:, :-1].argmax(1)
    same = model.recognise(batch, own)
    unknown = model.recognise(batch, torch.full_like(own, -1))
    other = model.recognise(batch, (own + 1) % len(CATEGORIES))
    for told in (same, unknown):
        torch.testing.assert_close(told.camera.rotation, free.camera.rotation)
        torch.testing.assert_close(told.amodal, free.amodal)
    assert float(rotation_angle(other.camera.rotation, free.camera.rotation).min()) > 0.01
    if recipe == RECIPES[0]:
        assert torch.equal(other.log_probs, free.log_probs)


def test_none_of_them_is_never_the_category_of_a_pose() -> None:
    log_probs = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]]).log()
    assert believed(log_probs, None).tolist() == [1, 0]
    assert believed(log_probs, torch.tensor([-1, 1])).tolist() == [1, 1]


@pytest.mark.parametrize("recipe", RECIPES)
def test_planted_balls_are_learned_by_heart(recipe: str) -> None:
    """Class, pose and the outline behind the bar, all far beyond what a constant answer has."""
    model = recogniser(recipe, *OF_OUTLINES[recipe])
    batch = synthetic_batch(model.request, 7)
    plan = FitPlan(
        catalogue.get(recipe).optimizers,
        ScheduleConfig(num_steps=120 if recipe == RECIPES[0] else 160, log_every=1000, checkpoint_every=1000),
        epoch_of=lambda _: 0,
        seed=0,
        batch_size=7,
    )
    fit(model, lambda start, stop: (batch for _ in range(start, stop)), plan)
    said = model.eval().recognise(batch)
    target = torch.where(batch["category"] < 0, len(CATEGORIES), batch["category"])
    assert torch.equal(said.log_probs.argmax(1), target)
    assert batch.camera is not None
    known = batch["category"] >= 0
    error = torch.rad2deg(rotation_angle(said.camera.rotation, batch.camera.rotation))[known]
    assert float(error.median()) < 15, error
    amodal, hidden = batch["amodal"] > 0.5, (batch["amodal"] > 0.5) & (batch["mask"] < 0.5)
    found = said.amodal > 0.5
    overlap = (found & amodal).sum((1, 2, 3)) / (found | amodal).sum((1, 2, 3))
    assert float(overlap[known].median()) > 0.6
    assert float((found & hidden)[known].sum() / hidden[known].sum()) > 0.6
    uv, _ = project(said.camera, torch.zeros(7, 1, 3))
    assert float((uv[:, 0] - box_of_mask(batch["amodal"][:, 0]).center)[known].abs().max()) < 0.2


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_mirrored_image_has_the_mirrored_pose(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All mirrored: the terms of images that were mirrored beforehand, with azimuth and roll turned round."""
    model, plain = recogniser(recipe), recogniser(recipe, "model.mirror=false")
    batch = synthetic_batch(model.request, 4)
    assert batch.camera is not None
    turned = pose_angles(batch.camera.rotation) * torch.tensor([-1.0, 1.0, -1.0])
    rotation = quaternion_to_matrix(pose_quaternions(*turned.unbind(-1)))
    fields = {name: batch[name].flip(-1) for name in ("image", "mask", "amodal")}
    beforehand = replace(batch, fields={**batch.fields, **fields}, camera=replace(batch.camera, rotation=rotation))

    def shares(one: ObjectRecogniser, seen: Batch) -> dict[str, float]:
        return {term.name: float(term.share.detach()) for term in one.losses("fit", seen, STEP, {}).terms}

    wanted, unmoved = shares(plain, beforehand), shares(plain, batch)
    monkeypatch.setattr("raylift.models.recognition.model.keyed_uniforms", lambda keys, *_: torch.zeros(len(keys)))
    found = shares(model, batch)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found["pose"] != pytest.approx(unmoved["pose"], rel=1e-4)
    assert shares(plain, batch) == unmoved


# --- the camera -----------------------------------------------------------------------------------------------------


def test_distances_follow_from_boxes_by_the_training_mean() -> None:
    model = recogniser(RECIPES[0])
    batch = synthetic_batch(model.request, 3)
    camera, category = batch.camera, batch["category"]
    assert camera is not None
    prior = CameraPrior(len(CATEGORIES))
    prior.update(prior.observed(camera, batch["amodal"], category))
    # One sample of each category: the mean is its own, so its camera comes back but for the box's centre.
    box = box_of_mask(batch["amodal"][:, 0])
    found = prior.camera(camera.rotation, box, category)
    torch.testing.assert_close(found.translation[:, 2], camera.translation[:, 2])
    torch.testing.assert_close(found.focal, camera.focal)
    uv, _ = project(found, torch.zeros(3, 1, 3))
    torch.testing.assert_close(uv[:, 0], box.center, rtol=0, atol=1e-5)


def test_the_means_are_of_all_samples_however_they_come() -> None:
    batch = synthetic_batch(recogniser(RECIPES[0]).request, 12)
    assert batch.camera is not None
    camera = replace(batch.camera, focal=batch.camera.focal * torch.linspace(0.5, 1.5, 12)[:, None])
    whole, parts = CameraPrior(3), CameraPrior(3)
    whole.update(whole.observed(camera, batch["amodal"], batch["category"]))
    for first, last in ((0, 2), (2, 7), (7, 12)):
        piece = slice(first, last)
        parts.update(parts.observed(camera[piece], batch["amodal"][piece], batch["category"][piece]))
    for name, value in whole.named_buffers():
        torch.testing.assert_close(dict(parts.named_buffers())[name], value)
    assert whole.extent_count.tolist() == [3, 3, 4]
    torch.testing.assert_close(whole.lens[:2], camera.focal.mean(0))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_missing_is_named(recipe: str) -> None:
    with pytest.raises(ConfigError, match="no categories"):
        catalogue.build_model(catalogue.get(recipe), DatasetInfo())
    model = recogniser(recipe)
    batch = synthetic_batch(model.request, 2)
    with pytest.raises(DataError, match="no camera"):
        model.losses("fit", replace(batch, camera=None), STEP, {})
    assert batch.camera is not None
    flat = replace(batch, camera=replace(batch.camera, projection="orthographic"))
    with pytest.raises(DataError, match="orthographic"):
        model.losses("fit", flat, STEP, {})
    for name in ("image", "amodal", "category"):
        lacking = replace(batch, fields={key: value for key, value in batch.fields.items() if key != name})
        with pytest.raises(DataError, match=name):
            model.losses("fit", lacking, STEP, {})


def test_impossible_configs_are_refused() -> None:
    with pytest.raises(ConfigError, match="image_px"):
        RecognitionConfig(image_px=100)
    with pytest.raises(ConfigError, match=r"weights\.box"):
        RecognitionWeights(box=-1)
    with pytest.raises(ConfigError, match="width"):
        TrunkConfig(width=0)
