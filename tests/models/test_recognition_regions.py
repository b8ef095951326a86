"""Regions of Mask R-CNN: draws keyed by sample, terms as torchvision has them, images without an object."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss, maskrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.models import catalogue
from raylift.models.recognition.config import RegionsConfig
from raylift.models.recognition.mask_rcnn import MaskRCNNRecogniser
from raylift.models.recognition.sampling import DrawKey, drawn_balanced
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.gradients import wake

STEP = StepInfo(step=3, num_steps=10, seed=5)
ALL = ("model.regions.num_anchors=100000", "model.regions.num_regions=100000")
"""Draws of everything, as torchvision's sampler would make them."""


def recogniser(*overrides: str) -> MaskRCNNRecogniser:
    recipe = catalogue.get("recognition/mask-rcnn-test", ("model.mirror=false", *overrides))
    model = catalogue.build_model(recipe, DatasetInfo(categories=CATEGORIES)).double().train()
    assert isinstance(model, MaskRCNNRecogniser)
    wake(model)
    return model


def batch_of(model: MaskRCNNRecogniser, count: int = 4) -> Batch:
    return synthetic_batch(model.request, count, dtype=torch.float64)


def shares(model: MaskRCNNRecogniser, batch: Batch) -> dict[str, Tensor]:
    return {term.name: term.share.detach() for term in model.losses("fit", batch, STEP, {}).terms}


def test_draws_belong_to_samples_and_steps() -> None:
    draws = torch.Generator().manual_seed(0)
    kind = torch.randint(3, (4, 50), generator=draws)
    positive, negative = kind == 1, kind == 2
    key = DrawKey(1, 2, torch.tensor([7, 8, 9, 10]))
    whole = drawn_balanced(positive, negative, 12, 0.25, key, "regions")
    part = drawn_balanced(positive[2:], negative[2:], 12, 0.25, DrawKey(1, 2, key.keys[2:]), "regions")
    assert torch.equal(whole[2:], part)
    for other in (replace(key, step=3), replace(key, seed=2), replace(key, keys=key.keys + 1)):
        assert not torch.equal(whole, drawn_balanced(positive, negative, 12, 0.25, other, "regions"))
    assert not torch.equal(whole, drawn_balanced(positive, negative, 12, 0.25, key, "anchors"))


def test_negatives_fill_what_positives_leave() -> None:
    positive = torch.arange(20)[None] < 2
    key = DrawKey(0, 0, torch.tensor([1]))
    few = drawn_balanced(positive, ~positive, 12, 0.5, key, "anchors")
    assert int((few & positive).sum()) == 2
    assert int(few.sum()) == 12
    many = drawn_balanced(~positive, positive, 12, 0.5, key, "anchors")
    assert int((many & ~positive).sum()) == 6
    assert int(many.sum()) == 8
    assert not bool(drawn_balanced(positive & False, positive & False, 12, 0.5, key, "anchors").any())


def test_terms_are_torchvisions_where_everything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own functions, on this rank's batch, for images that all have an object."""
    monkeypatch.setattr("raylift.models.recognition.mask_rcnn.POSITIVE_REGIONS", 1.0)
    monkeypatch.setattr("raylift.models.recognition.mask_rcnn.POSITIVE_ANCHORS", 1.0)
    model = recogniser(*ALL)
    batch = batch_of(model, 3)
    found = shares(model, batch)
    network, truth = model.network, model.truth_of(batch)
    proposed = network.propose(batch["image"])

    rpn: RegionProposalNetwork = network.proposals
    rpn.fg_bg_sampler.positive_fraction = 1.0
    targets = [{"boxes": box[None]} for box in truth.boxes]
    anchors = [proposed.anchors] * 3
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    coded = rpn.box_coder.encode(matched, anchors)
    objectness, proposal = rpn.compute_loss(
        proposed.objectness.view(-1, 1), proposed.deltas.flatten(0, 1), labels, coded
    )
    # Its labels are float32.
    torch.testing.assert_close(found["objectness"], objectness.detach(), check_dtype=False, rtol=1e-6, atol=0)
    torch.testing.assert_close(found["proposal"], proposal.detach())

    regions = model.drawn_regions(proposed.boxes, truth, DrawKey(5, 3, batch.keys))
    outputs = network.describe(proposed.levels, regions.boxes)
    counts = [len(one) for one in regions.boxes]
    image = regions.image
    # torchvision's background is class 0, ours the last: shift by one, and take the last as the first.
    shifted = torch.where(regions.shows, truth.target[image] + 1, 0)
    logits = torch.cat([outputs.category[:, -1:], outputs.category[:, :-1]], dim=1)
    deltas = torch.cat([outputs.deltas[:, -1:], outputs.deltas[:, :-1]], dim=1).flatten(1)
    wanted = network.coder.encode(
        [box.expand(count, 4) for box, count in zip(truth.boxes, counts, strict=True)], regions.boxes
    )
    category, box = fastrcnn_loss(logits, deltas, list(shifted.split(counts)), list(wanted))
    torch.testing.assert_close(found["category"], category.detach())
    torch.testing.assert_close(found["box"], box.detach())

    own = [one[shows] for one, shows in zip(regions.boxes, regions.shows.split(counts), strict=True)]
    of_object = torch.cat([torch.full((len(one),), index) for index, one in enumerate(own)])
    logits = network.masks(proposed.levels, own, truth.target[of_object])[:, None]
    zeros = [torch.zeros(len(one), dtype=torch.int64) for one in own]
    mask = maskrcnn_loss(logits, own, list(batch["amodal"]), [torch.zeros(1, dtype=torch.int64)] * 3, zeros)
    torch.testing.assert_close(found["amodal"], mask.detach())


def test_terms_do_not_depend_on_what_the_process_drew() -> None:
    model = recogniser("model.regions.num_anchors=8", "model.regions.num_regions=4")
    batch = batch_of(model)
    torch.manual_seed(1)
    first = shares(model, batch)
    torch.manual_seed(2)
    assert shares(model, batch) == first
    later = {term.name: term.share for term in model.losses("fit", batch, replace(STEP, step=4), {}).terms}
    assert float(later["objectness"].detach()) != float(first["objectness"])


def test_coordinates_are_not_rounded_by_bfloat16() -> None:
    model = recogniser("model.image_px=512").float()  # it has whole numbers up to 256
    batch = synthetic_batch(model.request, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model.network.propose(batch["image"])
        terms = shares(model, batch)
    exact = model.network.propose(batch["image"])
    assert rounded.anchors.dtype == rounded.boxes[0].dtype == torch.float32
    assert torch.equal(rounded.anchors, exact.anchors)
    torch.testing.assert_close(rounded.deltas, exact.deltas, rtol=0, atol=0.05)
    assert all(bool(torch.isfinite(share)) for share in terms.values())


def test_images_of_no_category_are_background_and_leave_no_parameter_without_a_gradient() -> None:
    """A rank may have only such images, and DistributedDataParallel waits for every parameter."""
    model = recogniser()
    batch = batch_of(model)
    nothing = replace(batch, fields={**batch.fields, "category": torch.full((4,), -1)})
    terms = {term.name: term.share for term in model.losses("fit", nothing, STEP, {}).terms}
    assert all(bool(torch.isfinite(share)) for share in terms.values())
    assert all(float(terms[name].detach()) == 0 for name in ("box", "amodal", "pose", "pose_offset", "proposal"))
    assert min(float(terms[name].detach()) for name in ("category", "objectness")) > 0
    torch.stack(list(terms.values())).sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None] == []


def test_an_image_without_proposals_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = recogniser().eval()
    propose = model.network.propose
    monkeypatch.setattr(
        model.network, "propose", lambda image: replace(found := propose(image), boxes=[one[:0] for one in found.boxes])
    )
    said = model.recognise(batch_of(model))
    torch.testing.assert_close(said.log_probs.exp().sum(1), torch.ones(4, dtype=torch.float64))
    assert bool(torch.isfinite(said.camera.translation).all())


def test_counts_that_are_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        RegionsConfig(num_regions=3)
