"""The implicit paper's decoder: five weight-normed layers with re-injection, and two heads (equation 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class FieldDecoder(nn.Module):
    """f(G(p), gamma(p)) -> (S, R, G, B), equation 3 of the implicit paper.

    Five fully connected layers with ReLU; the point's feature vector enters layer 1 and, beside layer 2's output,
    layer 3 again. Layers are weight-normed and Kaiming-initialised, the heads are neither ("every layer but the
    decision-heads"). No batch normalisation.

    Args:
        in_features: width of the point's feature vector.
        hidden: width of the five layers.
        limit: the distance is ``limit`` times tanh: 1 is tanh itself; the truncation spends the whole range on
            distances that occur.
    """

    def __init__(self, in_features: int, hidden: int = 512, limit: float = 1.0) -> None:
        super().__init__()
        self.limit = limit
        self.layer1 = _layer(in_features, hidden)
        self.layer2 = _layer(hidden, hidden)
        self.layer3 = _layer(hidden + in_features, hidden)
        self.layer4 = _layer(hidden, hidden)
        self.layer5 = _layer(hidden, hidden)
        self.sdf_head = nn.Linear(hidden, 1)
        self.color_head = nn.Linear(hidden, 3)

    def forward(self, features: Float[Tensor, "B N F"]) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 3"]]:
        """Signed distance through tanh, in (-limit, limit), and RGB through a sigmoid, in (0, 1)."""
        x = functional.relu(self.layer1(features))
        x = functional.relu(self.layer2(x))
        x = functional.relu(self.layer3(torch.cat([x, features], dim=-1)))
        x = functional.relu(self.layer4(x))
        x = functional.relu(self.layer5(x))
        # bf16 keeps 8 bits, too few for a distance near zero: the heads leave mixed precision.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.sdf_head.weight.dtype)
            return self.limit * torch.tanh(self.sdf_head(x)[..., 0]), torch.sigmoid(self.color_head(x))


def _layer(in_features: int, out_features: int) -> nn.Module:
    linear = nn.Linear(in_features, out_features)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    normed: nn.Module = weight_norm(linear)
    return normed
