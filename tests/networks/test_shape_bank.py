"""Looking training shapes up: the planted one is found, and a sample never finds its own body."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.errors import DataError
from raylift.networks.shape_bank import REACH, ShapeBank
from tests.networks.boxes import SIZES, cameras, coverage, examples


@pytest.fixture(scope="module")
def bank() -> ShapeBank:
    made = ShapeBank()
    made.keep(examples())
    return made


def views(px: int = 64) -> tuple[torch.Tensor, object]:
    """Every box once, from a camera that the bank has not seen."""
    seen = cameras(len(SIZES), 99)
    return torch.stack([coverage(size, seen[index], px) for index, size in enumerate(SIZES)]), seen


def test_a_shape_is_found_from_a_new_camera(bank: ShapeBank) -> None:
    masks, seen = views()
    found, distances = bank.nearest(masks, seen, [f"unknown{index}#0" for index in range(len(SIZES))], 3)
    hits = found[:, 0] == torch.arange(len(SIZES))
    assert float(hits.float().mean()) > 0.7, "by chance: 0.05"
    assert bool((distances.diff(dim=1) >= 0).all())


def test_the_input_s_own_camera_decides_among_shapes(bank: ShapeBank) -> None:
    """Turned cameras see other boxes in the same silhouettes: half of the finds must be lost."""
    masks, seen = views()
    names = [f"unknown{index}#0" for index in range(len(SIZES))]
    right = bank.nearest(masks, seen, names, 1)[0][:, 0] == torch.arange(len(SIZES))
    other = cameras(len(SIZES), 7)
    wrong = bank.nearest(masks, other, names, 1)[0][:, 0] == torch.arange(len(SIZES))
    assert int(wrong.sum()) <= int(right.sum()) // 2


def test_a_training_sample_never_finds_its_own_body() -> None:
    made = examples()
    bodies = torch.arange(len(SIZES)) // 2
    bank = ShapeBank()
    bank.keep(replace(made, bodies=bodies, samples={f"box{index}": int(body) for index, body in enumerate(bodies)}))
    masks, seen = views()
    found, _ = bank.nearest(masks, seen, [f"box{index}#3" for index in range(len(SIZES))], 4)
    assert bool((bodies[found] != bodies[:, None]).all())


def test_a_sample_finds_the_same_alone_and_in_a_batch(bank: ShapeBank) -> None:
    masks, seen = views()
    names = [f"box{index}#0" for index in range(len(SIZES))]
    together, distances = bank.nearest(masks, seen, names, 4)
    for index in (0, 5, 11):
        one, distance = bank.nearest(masks[index : index + 1], seen[index], names[index : index + 1], 4)
        assert torch.equal(one[0], together[index])
        assert torch.equal(distance[0], distances[index])


def test_a_checkpoint_brings_the_bank(bank: ShapeBank) -> None:
    empty = ShapeBank()
    masks, seen = views()
    with pytest.raises(DataError, match="empty"):
        empty.nearest(masks[:1], seen[0], ["x#0"], 1)
    empty.load_state_dict(bank.state_dict())
    assert all(torch.equal(value, empty.state_dict()[name]) for name, value in bank.state_dict().items())
    found, _ = empty.nearest(masks[:1], seen[0], ["x#0"], 2)
    expected = examples().sdf[found].clamp(-REACH, REACH)
    torch.testing.assert_close(empty.volumes(found), expected, rtol=0, atol=0.51 * REACH / 127)


def test_more_than_there_are_repeats_the_last(bank: ShapeBank) -> None:
    masks, seen = views()
    found, _ = bank.nearest(masks[:1], seen[0], ["box0#0"], len(SIZES) + 5)
    assert len(set(found[0].tolist())) == len(SIZES) - 1
    assert bool((found[0, len(SIZES) - 2 :] == found[0, -1]).all())


def test_one_body_is_refused() -> None:
    made = examples()
    with pytest.raises(DataError, match="two bodies"):
        ShapeBank().keep(replace(made, bodies=torch.zeros_like(made.bodies)))
