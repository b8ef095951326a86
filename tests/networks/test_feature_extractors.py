"""Features of whole images: frozen, differentiable in the picture, and what is said where weights are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models import alexnet

from raylift.core.errors import ConfigError, WeightsError
from raylift.networks.feature_extractors import NUM_FEATURES, Frozen, RandomFeatures, open_features


def test_random_features_are_always_the_same_and_tell_pictures_apart() -> None:
    pictures = torch.rand(3, 3, 32, 32)
    first, second = open_features("random")(pictures), open_features("random")(pictures)
    assert first.shape == (3, NUM_FEATURES["random"])
    assert torch.equal(first, second)
    assert float((first[0] - first[1]).norm()) > 1e-3


def test_gradients_reach_the_picture_and_not_the_network() -> None:
    picture = torch.rand(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    open_features("random")(picture).square().sum().backward()
    assert picture.grad is not None
    assert bool(picture.grad.any())
    layer = torch.nn.Conv2d(3, 4, 3)
    Frozen(layer)(picture.float()).sum().backward()
    assert layer.weight.grad is None


def test_a_frozen_network_is_no_part_of_a_module() -> None:
    class Owner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = Frozen(RandomFeatures())

    assert list(Owner().state_dict()) == []


def test_alexnet_is_read_from_the_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    theirs = alexnet().eval()
    torch.save(theirs.state_dict(), tmp_path / "alexnet-owt-7be5be79.pth")
    pictures = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    # Without torchvision's last pooling, which 64 px would not survive at full resolution.
    expected = theirs.features[:-1]((pictures - mean[:, None, None]) / std[:, None, None]).mean(dim=(2, 3))
    torch.testing.assert_close(open_features("alexnet")(pictures), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_a_remote_folder_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote, cache = tmp_path / "remote", tmp_path / "cache"
    remote.mkdir()
    monkeypatch.setenv("RAYLIFT_WEIGHTS", f"file://{remote}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    theirs = alexnet().eval()
    torch.save(theirs.state_dict(), remote / "alexnet-owt-7be5be79.pth")
    pictures = torch.rand(1, 3, 64, 64)
    first = open_features("alexnet")(pictures)
    (remote / "alexnet-owt-7be5be79.pth").unlink()
    assert torch.equal(open_features("alexnet")(pictures), first)
    assert [path.name for path in (cache / "raylift" / "weights").iterdir()] == ["alexnet-owt-7be5be79.pth"]


def test_missing_weights_say_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"inception_v3_google.*pth into"):
        open_features("inception_v3")
    (tmp_path / "inception_v3_google-0cc3c7bd.pth").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        open_features("inception_v3")
    with pytest.raises(ConfigError, match="unknown feature extractor"):
        open_features("clip")  # type: ignore[arg-type]
