"""Part segmentation: what it asks for, its terms, its second looks, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.config.optimizers import OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import ReconstructionModel, require_reconstruction
from raylift.core.step_info import StepInfo
from raylift.geometry.cameras import pixel_centers
from raylift.geometry.thin_plate import control_grid, fit_thin_plate
from raylift.losses.part_segmentation import foreground_error, imbalance_error, part_centers
from raylift.models.part_segmentation.config import MotionConfig, PartSegmentationConfig, PartWeights
from raylift.models.part_segmentation.model import PartSegmentationModel
from raylift.models.part_segmentation.motion import draw_warps, move_image, move_responses, recolor
from raylift.training.loop import fit
from raylift.training.plan import FitPlan
from tests.models.part_samples import blobs, small_config

STEP = StepInfo(step=3, num_steps=10, seed=5)
SCHEDULE = ScheduleConfig(num_steps=60)
TERMS = ("concentration", "equivariance", "centers", "semantic", "orthonormality", "foreground", "balance")


def test_every_term_is_finite_and_trains() -> None:
    model, batch = PartSegmentationModel(small_config(), seed=0), blobs(small_config(), 3)
    terms = {term.name: term for term in model.losses("fit", batch, STEP, {}).terms}
    assert tuple(terms) == TERMS
    for name, term in terms.items():
        assert bool(torch.isfinite(term.share)), name
        assert float(term.share.detach()) > 0, name
        assert term.weight == getattr(model.config.weights, name), name
        model.zero_grad()
        term.share.backward(retain_graph=True)
        reached = {key for key, value in model.named_parameters() if value.grad is not None and bool(value.grad.any())}
        assert ("network.basis" in reached) == (name in ("semantic", "orthonormality")), name
        assert ("network.segmentation.head.weight" in reached) == (name != "orthonormality"), name
    for name in batch.fields:
        lacking = replace(batch, fields={key: value for key, value in batch.fields.items() if key != name})
        with pytest.raises(DataError, match=name):
            model.losses("fit", lacking, STEP, {})


def test_semantic_error_is_a_mean_over_the_objects_pixels() -> None:
    model, batch = PartSegmentationModel(small_config(), seed=0), blobs(small_config(), 2)
    looks = model.augmented_pair(batch, STEP)
    features = model.features(batch, looks.responses[:, 1:])
    left = features - torch.einsum("bkhw,kd->bdhw", looks.responses[:, 1:], model.network.basis.relu())
    expected = (looks.mask * left).square().sum() / looks.mask.sum()
    terms = {term.name: term.share for term in model.losses("fit", batch, STEP, {}).terms}
    torch.testing.assert_close(terms["semantic"], expected)


def test_foreground_error_is_the_cross_entropy() -> None:
    responses = torch.rand(2, 4, 5, 5, dtype=torch.float64).softmax(dim=1)
    mask = torch.rand(2, 1, 5, 5, dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy(1 - responses[:, :1], mask, reduction="none")[:, 0]
    torch.testing.assert_close(foreground_error(responses, mask), expected)


def test_imbalance_is_what_entropy_lacks() -> None:
    mask = torch.zeros(4, 1, 2, 4, dtype=torch.float64)
    mask[:, :, :, :2] = 1
    parts = torch.full((4, 4, 2, 4), 0.25, dtype=torch.float64)
    parts[1] = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)[:, None, None]
    # One part a pixel of the object: equal shares, however decided each pixel is. What lies outside does not count.
    parts[2, :, :, :2] = torch.eye(4, dtype=torch.float64).reshape(4, 2, 2)
    parts[2, :, :, 2:] = parts[1, :, :, 2:]
    parts[3] = torch.tensor([0.5, 0.5, 0, 0], dtype=torch.float64)[:, None, None]
    expected = torch.tensor([0, 4, 1, 2], dtype=torch.float64).log().nan_to_num(neginf=0.0)
    torch.testing.assert_close(imbalance_error(parts, mask), expected, rtol=0, atol=1e-6)


# --- second looks ---------------------------------------------------------------------------------------------------


def test_a_disc_is_found_where_the_warp_put_it() -> None:
    """A known similarity: the moved part's centre, taken through the warp, is the part's own."""
    centers = control_grid(4, dtype=torch.float64)
    matrix, shift = torch.tensor([[0.9, 0.3], [-0.3, 0.9]], dtype=torch.float64), torch.tensor([0.1, -0.05]).double()
    warp = fit_thin_plate(centers, (centers @ matrix + shift)[None])
    grid = pixel_centers(96, 96, dtype=torch.float64)
    part = torch.exp(-(grid - torch.tensor([0.2, -0.1])).square().sum(dim=-1) / 0.01)[None, None]
    responses = torch.cat([1 - part, part], dim=1)
    moved = move_responses(responses, warp)
    torch.testing.assert_close(moved.sum(dim=1), torch.ones(1, 96, 96, dtype=torch.float64))
    expected = torch.linalg.solve(matrix.mT, torch.tensor([0.2, -0.1]).double() - shift)
    torch.testing.assert_close(part_centers(moved[:, 1:])[0, 0], expected, rtol=0, atol=2e-3)
    torch.testing.assert_close(
        warp(part_centers(moved[:, 1:]))[0, 0], torch.tensor([0.2, -0.1]).double(), rtol=0, atol=2e-3
    )
    far = fit_thin_plate(centers, (centers + 5)[None])
    assert torch.equal(move_image(torch.zeros(1, 3, 8, 8).double(), far), torch.ones(1, 3, 8, 8).double())
    assert torch.equal(move_responses(responses, far)[:, 0], torch.ones(1, 96, 96).double())


def test_draws_belong_to_samples() -> None:
    config, batch = MotionConfig(), blobs(small_config(), 4)
    image, keys = batch["image"], batch.keys
    whole, part = (draw_warps(config, 1, 2, some, image) for some in (keys, keys[2:]))
    assert torch.equal(whole.affine[2:], part.affine)
    assert torch.equal(recolor(image, config, 1, 2, keys)[2:], recolor(image[2:], config, 1, 2, keys[2:]))
    for seed, step in ((0, 2), (1, 3)):
        assert not torch.equal(whole.affine, draw_warps(config, seed, step, keys, image).affine)
    assert not torch.equal(whole.affine[0], whole.affine[1])
    still = MotionConfig(rotation_deg=0, scale=0, shift=0, bend=0, color=0)
    torch.testing.assert_close(move_image(image, draw_warps(still, 1, 2, keys, image)), image, rtol=0, atol=1e-4)
    torch.testing.assert_close(recolor(image, still, 1, 2, keys), image)


# --- learning -------------------------------------------------------------------------------------------------------


def test_training_explains_more_with_both_parts_in_use() -> None:
    """Through the loop, on two-coloured discs. It does not say that parts become the colours."""
    config = small_config(num_parts=2)
    model, batch = PartSegmentationModel(config, seed=0), blobs(config, 8)
    before = {name: float(value.mean()) for name, value in model.eval().scores(batch).items()}
    plan = FitPlan({"default": OptimizerConfig(learning_rate=1e-2)}, SCHEDULE, 60)
    fit(model, lambda start, stop: (batch for _ in range(start, stop)), plan)
    after = {name: float(value.mean()) for name, value in model.eval().scores(batch).items()}
    assert after["explained"] > before["explained"] + 0.2
    assert after["used_parts"] == 2
    # A disc is four cells wide, so the border of its halves runs through a third of it, where either part is right.
    assert after["agreement"] > 2 / 3
    parts = model.segment(batch["image"])
    torch.testing.assert_close(parts.sum(dim=1), torch.ones(8, 32, 32))


def test_the_extractor_is_no_part_of_the_state() -> None:
    model = PartSegmentationModel(small_config(), seed=0)
    names = set(model.state_dict())
    model.losses("fit", blobs(small_config(), 2), STEP, {})
    assert set(model.state_dict()) == names
    assert not any("extractor" in name for name in names)


def test_it_is_no_model_of_shapes() -> None:
    model = PartSegmentationModel(small_config(), seed=0)
    assert not isinstance(model, ReconstructionModel)
    with pytest.raises(ConfigError, match="'part_segmentation/test' does not reconstruct shapes"):
        require_reconstruction(model, "part_segmentation/test")


@pytest.mark.parametrize(
    "make",
    [
        lambda: PartSegmentationConfig(num_parts=1),
        lambda: PartSegmentationConfig(image_px=100),
        lambda: PartSegmentationConfig(width=0),
        lambda: MotionConfig(scale=-1.0),
        lambda: MotionConfig(color=1.0),
        lambda: MotionConfig(control_points=1),
        lambda: PartWeights(semantic=-1.0),
    ],
)
def test_impossible_values_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]
