"""Changes of images that several models share."""

from __future__ import annotations

import torch

from raylift.rendering.image_changes import luminance, mirrored_where, stretched


def test_only_chosen_samples_are_mirrored() -> None:
    maps = torch.arange(24.0).view(2, 2, 2, 3)
    which = torch.tensor([False, True])
    found = mirrored_where(maps, which)
    assert torch.equal(found[0], maps[0])
    assert found[1, 0, 0].tolist() == [14.0, 13.0, 12.0]
    assert torch.equal(mirrored_where(found, which), maps)
    columns = mirrored_where(maps, which, axis=2)
    assert columns[1, 0, 0].tolist() == maps[1, 0, 1].tolist()


def test_grey_is_as_bright_as_it_is() -> None:
    level = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(luminance(level.expand(-1, 3, -1, -1)), level)
    red, green, blue = (float(luminance(torch.eye(3)[index].view(1, 3, 1, 1))) for index in range(3))
    assert green > red > blue


def test_a_factor_of_zero_leaves_the_centre() -> None:
    image = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    factor = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)
    found = stretched(image, 0.5, factor)
    assert torch.equal(found[0], torch.full_like(image[0], 0.5))
    torch.testing.assert_close(found[1], 2 * image[1] - 0.5)
    grey = stretched(image, luminance(image), torch.zeros(2, 1, 1, 1))
    assert torch.equal(grey, luminance(image).expand_as(image))
