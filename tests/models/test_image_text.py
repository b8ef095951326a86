"""The image-text model learns planted captions, from backgrounds of every kind, and what it learned can be used."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.evaluation.retrieval import known_images, validate_retrieval
from raylift.losses.image_text import cosine_loss
from raylift.models import catalogue
from raylift.models.image_text.config import ImageTextConfig
from raylift.models.image_text.model import ImageTextTrainer
from raylift.networks.image_text.towers import FrozenImageText
from tests.models.captioned_samples import discs

PX = 32


def small(seed: int = 0, **changes: object) -> ImageTextTrainer:
    towers = catalogue.get("image_text/test").model.towers
    return ImageTextTrainer(ImageTextConfig(towers, **changes), seed)  # type: ignore[arg-type]


def loss(model: ImageTextTrainer, batch: Batch, step: int = 0) -> torch.Tensor:
    (term,) = model.losses("fit", batch, StepInfo(step, 100), {}).terms
    return term.share


@pytest.fixture(scope="module")
def trained() -> ImageTextTrainer:
    model = small()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        batch = discs(PX, [(16 * step + index) % 40 for index in range(16)])
        optimizer.zero_grad()
        loss(model, batch, step).backward()
        optimizer.step()
    return model.eval()


def test_planted_captions_are_learned_from_random_backgrounds(trained: ImageTextTrainer) -> None:
    held_out = [discs(PX, list(range(100, 140)))]
    before = validate_retrieval(small(), held_out)
    after = validate_retrieval(trained, held_out)
    assert after["val/candidates"] == 8
    assert after["val/chance"] == pytest.approx(1 / 8)
    assert before["val/top1"] < 0.4
    assert after["val/top1"] > 0.8


def test_the_learned_towers_tell_colours_apart_by_the_gradient_of_the_image(trained: ImageTextTrainer) -> None:
    """A grey disc turns towards the colour of its caption."""
    frozen = FrozenImageText(trained.towers)
    mask = discs(PX, [4])["mask"]
    for word, channel in (("red", 0), ("blue", 2)):
        image = (0.5 * mask + (1 - mask)).expand(1, 3, PX, PX).clone().requires_grad_()
        features = frozen.encode_image(image)
        cosine_loss(features, frozen.encode_text([f"a large {word} disc"], features)).sum().backward()
        assert image.grad is not None
        wish = -(image.grad * mask).sum(dim=(0, 2, 3))
        assert wish[channel] > max(wish[other] for other in range(3) if other != channel), word


def test_samples_without_a_caption_do_not_count() -> None:
    model = small()
    whole = loss(model, discs(PX, range(6), silent=(1, 4)))
    torch.testing.assert_close(whole, loss(model, discs(PX, [0, 2, 3, 5])))
    nothing = loss(model, discs(PX, range(3), silent=range(3)))
    assert nothing == 0
    nothing.backward()
    assert all((one.grad == 0).all() for one in model.parameters() if one.grad is not None)


def test_a_step_sees_random_backgrounds_and_evaluation_white_ones() -> None:
    model, batch = small(), discs(PX, range(8))
    first, second = (model.on_backgrounds(batch, StepInfo(step, 9)) for step in (0, 1))
    inside = batch["mask"].expand_as(first) > 0
    torch.testing.assert_close(first[inside], batch["image"][inside])
    assert not torch.equal(first[~inside], second[~inside])
    white = small(backgrounds=("white",))
    torch.testing.assert_close(white.on_backgrounds(batch, StepInfo(0, 9)), batch["image"])
    with pytest.raises(ConfigError, match="backgrounds"):
        small(backgrounds=())


def test_retrieval_has_its_baselines(trained: ImageTextTrainer) -> None:
    known = known_images([discs(PX, range(40)), discs(PX, range(40, 44), silent=range(44))])
    assert len(known.captions) == 40
    shares = [discs(PX, range(100, 110)), discs(PX, range(110, 124), silent=(120,))]
    found = validate_retrieval(trained, shares, known, "test")
    assert found["test/retrieval_samples"] == 23
    assert found["test/nearest"] > 0.9, "discs of one caption look alike"
    assert found["test/constant"] == pytest.approx(3 / 23)
    # Four words a caption, of which "a" and "disc" are in all: a random one has 3 of 5 or 2 of 6, or all by chance.
    assert found["test/words_chance"] == pytest.approx((1 + 4 * 3 / 5 + 3 * 2 / 6) / 8)
    assert found["test/words"] > 0.8
    assert found["test/words_nearest"] > 0.9
    alone = validate_retrieval(trained, [discs(PX, range(100, 124), silent=(120,))], known, "test")
    assert alone == pytest.approx(found)
    nothing = validate_retrieval(trained, [discs(PX, range(2), silent=range(2))], known, "test")
    assert nothing == {"test/retrieval_samples": 0.0}
