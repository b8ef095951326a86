"""Looking training shapes up: the planted one is found, and a sample never finds its own body."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.errors import DataError
from raylift.geometry.voxels import grid_points
from raylift.networks.shape_bank import REACH, Search, ShapeBank
from tests.networks.boxes import SIZES, box_distance, cameras, coverage, examples

RIGID = Search(num_stretched=0)


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
    near = bank.nearest(masks, seen, [f"unknown{index}#0" for index in range(len(SIZES))], 3, RIGID)
    hits = near.indices[:, 0] == torch.arange(len(SIZES))
    assert float(hits.float().mean()) > 0.7, "by chance: 0.05"
    assert bool((near.distances.diff(dim=1) >= 0).all())


def test_the_input_s_own_camera_decides_among_shapes(bank: ShapeBank) -> None:
    """Turned cameras see other boxes in the same silhouettes: half of the finds must be lost."""
    masks, seen = views()
    names = [f"unknown{index}#0" for index in range(len(SIZES))]
    right = bank.nearest(masks, seen, names, 1, RIGID).indices[:, 0] == torch.arange(len(SIZES))
    other = cameras(len(SIZES), 7)
    wrong = bank.nearest(masks, other, names, 1, RIGID).indices[:, 0] == torch.arange(len(SIZES))
    assert int(wrong.sum()) <= int(right.sum()) // 2


def test_a_training_sample_never_finds_its_own_body() -> None:
    made = examples()
    bodies = torch.arange(len(SIZES)) // 2
    bank = ShapeBank()
    bank.keep(replace(made, bodies=bodies, samples={f"box{index}": int(body) for index, body in enumerate(bodies)}))
    masks, seen = views()
    near = bank.nearest(masks, seen, [f"box{index}#3" for index in range(len(SIZES))], 4, Search())
    assert bool((bodies[near.indices] != bodies[:, None]).all())


def test_a_sample_finds_the_same_alone_and_in_a_batch(bank: ShapeBank) -> None:
    masks, seen = views()
    names = [f"box{index}#0" for index in range(len(SIZES))]
    together = bank.nearest(masks, seen, names, 4, Search())
    for index in (0, 5, 11):
        one = bank.nearest(masks[index : index + 1], seen[index], names[index : index + 1], 4, Search())
        for part in ("indices", "stretches", "distances"):
            assert torch.equal(getattr(one, part)[0], getattr(together, part)[index])


def test_training_samples_are_searched_for_once_and_users_pictures_always(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = ShapeBank()
    bank.keep(examples())
    searches: list[int] = []
    search = bank._searched
    monkeypatch.setattr(bank, "_searched", lambda *given: searches.append(1) or search(*given))
    masks, seen = views()

    def found(name: str, index: int) -> torch.Tensor:
        return bank.nearest(masks[index : index + 1], seen[index], [name], 3, RIGID).indices

    first = found("box4#0", 4)
    assert torch.equal(found("box4#0", 4), first)
    assert len(searches) == 1
    found("box4#0", 5)  # another camera: the mirrored sample, say
    found("photo#0", 4)
    assert not torch.equal(found("photo#0", 6), found("photo#0", 4))
    assert len(searches) == 5
    bank.eval()
    assert torch.equal(found("box4#0", 4), first)
    assert len(searches) == 6


def test_a_stretched_shape_fits_what_no_shape_of_the_bank_does(bank: ShapeBank) -> None:
    """Boxes of proportions between those kept: stretching must find them, volume and all."""
    sizes = [torch.tensor(size) for size in ((0.2, 0.5, 0.2), (0.5, 0.2, 0.4), (0.4, 0.2, 0.5), (0.2, 0.4, 0.5))]
    seen = cameras(len(sizes), 5)
    masks = torch.stack([coverage(size, seen[index], 64) for index, size in enumerate(sizes)])
    cells = torch.from_numpy(grid_points(16))
    truth = torch.stack([(box_distance(cells, size) < 0).reshape(16, 16, 16) for size in sizes])

    def overlap(search: Search) -> float:
        near = bank.nearest(masks, seen, ["x#0"] * len(sizes), 1, search)
        inside = bank.volumes(near)[:, 0] < 0
        return float(((inside & truth).sum((1, 2, 3)) / (inside | truth).sum((1, 2, 3))).mean())

    assert overlap(Search()) > overlap(RIGID) + 0.1


def test_a_checkpoint_brings_the_bank(bank: ShapeBank) -> None:
    empty = ShapeBank()
    masks, seen = views()
    with pytest.raises(DataError, match="empty"):
        empty.nearest(masks[:1], seen[0], ["x#0"], 1, RIGID)
    empty.load_state_dict(bank.state_dict())
    assert all(torch.equal(value, empty.state_dict()[name]) for name, value in bank.state_dict().items())
    near = empty.nearest(masks[:1], seen[0], ["x#0"], 2, RIGID)
    expected = examples().sdf[near.indices].clamp(-REACH, REACH)
    torch.testing.assert_close(empty.volumes(near), expected, rtol=0, atol=0.51 * REACH / 127)


def test_more_than_there_are_repeats_the_last(bank: ShapeBank) -> None:
    masks, seen = views()
    found = bank.nearest(masks[:1], seen[0], ["box0#0"], len(SIZES) + 5, RIGID).indices
    assert len(set(found[0].tolist())) == len(SIZES) - 1
    assert bool((found[0, len(SIZES) - 2 :] == found[0, -1]).all())


def test_one_body_is_refused() -> None:
    made = examples()
    with pytest.raises(DataError, match="two bodies"):
        ShapeBank().keep(replace(made, bodies=torch.zeros_like(made.bodies)))
