"""The 2D and 3D encoders: sizes, independence of samples, agreement with torchvision."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from raylift.networks.normalization import group_norm
from raylift.networks.resnet import ResNetPyramid, normalize_image
from raylift.networks.voxel_encoder import VoxelPyramid


@pytest.mark.parametrize(("backbone", "last"), [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_same_network_as_torchvision(backbone: str, last: int) -> None:
    """With torchvision's parameters, in its order, the last map is torchvision's."""
    ours = ResNetPyramid(backbone).eval()
    theirs = getattr(torchvision.models, backbone)(norm_layer=group_norm).eval()
    theirs.avgpool, theirs.fc = nn.Identity(), nn.Identity()
    # torchvision registers a block's shortcut after its convolutions, as we do, so parameters pair up in order.
    pairs = list(zip(theirs.parameters(), ours.parameters(), strict=True))
    with torch.no_grad():
        for source, target in pairs:
            assert source.shape == target.shape
            target.copy_(source + 0.01)
            source.copy_(target)
        image = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(ours(image)[-1].flatten(1), theirs(image), rtol=1e-4, atol=1e-4)
    assert ours.channels[-1] == last


@pytest.mark.parametrize("size", [64, 33])
def test_map_sizes(size: int) -> None:
    encoder = ResNetPyramid("resnet18", width=8)
    maps = encoder(torch.rand(2, 3, size, size))
    assert [m.shape[1] for m in maps] == list(encoder.channels) == [8, 8, 16, 32, 64]
    assert [m.shape[-1] for m in maps] == [-(-size // 2**k) for k in range(1, 6)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("resolution", [8, 32])
def test_volume_sizes(stride: int, resolution: int) -> None:
    encoder = VoxelPyramid(4, width=4, stride=stride)
    volumes = encoder(torch.rand(2, 4, resolution, resolution, resolution))
    assert [v.shape[1] for v in volumes] == list(encoder.channels) == [4, 4, 8, 16, 32]
    sizes = [-(-resolution // (stride * 2**k)) for k in range(4)]
    assert [v.shape[2:] for v in volumes] == [(resolution,) * 3, *((s, s, s) for s in sizes)]


@pytest.mark.parametrize("encoder", [ResNetPyramid("resnet18", 8), VoxelPyramid(3, 4)], ids=["image", "voxels"])
def test_a_sample_does_not_see_its_batch(encoder: nn.Module) -> None:
    encoder = encoder.double().train()
    batch = torch.rand(3, 3, *([32] * (2 if isinstance(encoder, ResNetPyramid) else 3)), dtype=torch.float64)
    together, alone = encoder(batch), encoder(batch[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=0, atol=1e-12)


def test_no_batch_norm_anywhere() -> None:
    for encoder in (ResNetPyramid("resnet50", 8), VoxelPyramid(1)):
        assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (4, 1), (16, 4), (24, 2), (64, 16), (256, 32), (2048, 32)])
def test_groups_divide_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_normalize_image_covers_minus_one_to_one() -> None:
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    assert normalize_image(image).flatten().tolist() == [-1.0, 0.0, 1.0]
