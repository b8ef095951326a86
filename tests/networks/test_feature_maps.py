"""Dense features: where they look, what they are, and what is said when they are nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from raylift.core.errors import WeightsError
from raylift.networks.feature_maps import FeatureMaps
from raylift.networks.reading_places import ReadingPlaces


def test_places_are_those_that_gradients_reach() -> None:
    layers: list[nn.Module] = [
        nn.Conv2d(1, 1, 5, stride=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(1, 1, 3, padding=2, dilation=2),
    ]
    places = ReadingPlaces().then(layers)
    averaging = nn.Sequential(*[nn.AvgPool2d(3, 2) if isinstance(layer, nn.MaxPool2d) else layer for layer in layers])
    for layer in averaging:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1.0)
    image = torch.rand(1, 1, 121, 121, requires_grad=True)
    place = 9
    averaging(image)[0, 0, place, place].backward()
    reached = image.grad[0, 0].sum(dim=0).nonzero()[:, 0]
    assert float(reached.float().mean()) == places.first + places.spacing * place


def test_a_spot_lights_up_the_features_around_it() -> None:
    features = FeatureMaps("random")
    grey = torch.full((1, 3, 64, 64), 0.5)
    spotted = grey.clone()
    spotted[..., 40:44, 20:24] = 1.0
    change = (features(spotted, 16) - features(grey, 16)).abs().sum(dim=1)[0]
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    total = change.sum()
    assert float((change * rows).sum() / total) == pytest.approx(10, abs=0.6)
    assert float((change * columns).sum() / total) == pytest.approx(5, abs=0.6)
    assert bool((features(spotted, 16) >= 0).all())


def test_missing_weights_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"no ImageNet weights of vgg16.*\n.*raylift fetch-weights vgg16"):
        FeatureMaps("vgg16")
