"""The decoder against a reference written out in NumPy, its initial statistics and its gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from raylift.networks.decoder import FieldDecoder


def _weight(layer: nn.Module) -> np.ndarray:
    """Weight normalisation written out: w = g v / |v|, row by row."""
    parameters = layer.parametrizations.weight
    g, v = parameters.original0.detach().numpy(), parameters.original1.detach().numpy()
    return g * v / np.linalg.norm(v, axis=1, keepdims=True)


def test_equation_3_equals_numpy() -> None:
    decoder = FieldDecoder(6, hidden=10, limit=0.1).double()
    with torch.no_grad():  # off the initial point, where g = |v| would hide a missing normalisation
        for parameter in decoder.parameters():
            parameter.mul_(1.3).add_(0.05)
    features = torch.randn(2, 4, 6, dtype=torch.float64)
    x = f = features.numpy()
    for index in range(1, 6):
        layer = getattr(decoder, f"layer{index}")
        x = np.concatenate([x, f], axis=-1) if index == 3 else x
        x = np.maximum(x @ _weight(layer).T + layer.bias.detach().numpy(), 0)
    sdf = 0.1 * np.tanh(x @ decoder.sdf_head.weight.detach().numpy()[0] + decoder.sdf_head.bias.item())
    logits = x @ decoder.color_head.weight.detach().numpy().T + decoder.color_head.bias.detach().numpy()
    got_sdf, got_color = decoder(features)
    np.testing.assert_allclose(got_sdf.detach().numpy(), sdf, atol=1e-12)
    np.testing.assert_allclose(got_color.detach().numpy(), 1 / (1 + np.exp(-logits)), atol=1e-12)


def test_five_weight_normed_layers_and_two_bare_heads() -> None:
    decoder = FieldDecoder(6, hidden=10)
    normed = [name for name, module in decoder.named_children() if hasattr(module, "parametrizations")]
    assert normed == ["layer1", "layer2", "layer3", "layer4", "layer5"]
    assert decoder.layer3.in_features == 10 + 6
    assert not any(
        "norm" in type(module).__name__.lower() and "Batch" in type(module).__name__ for module in decoder.modules()
    )


def test_kaiming_keeps_the_scale_of_the_signal() -> None:
    """He et al. 2015: with ReLU and variance 2 / fan_in the pre-activations keep their mean square."""
    decoder = FieldDecoder(512, hidden=512)
    x = decoder.layer1(torch.randn(1, 400, 512))
    for layer in (decoder.layer2, decoder.layer4, decoder.layer5):
        y = layer(torch.relu(x))
        assert 0.7 < float((y.square().mean() / x.square().mean()).detach()) < 1.4
        x = y


def test_gradient() -> None:
    decoder = FieldDecoder(4, hidden=5).double()
    features = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(decoder, features)


def test_mixed_precision_leaves_distances_whole() -> None:
    decoder = FieldDecoder(8, hidden=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sdf, color = decoder(torch.randn(1, 5, 8))
    assert sdf.dtype == color.dtype == torch.float32
