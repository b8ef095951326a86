"""The implicit paper's decoder: five weight-normed layers with re-injection, and two heads (equation 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class FieldDecoder(nn.Module):
    """f(G(p), gamma(p)) -> (S, R, G, B), equation 3 of the implicit paper.

    Five fully connected layers with ReLU; the point's feature vector enters layer 1 and, together with layer 2's
    output, layer 3. Layers are weight-normed and Kaiming-initialised, the heads are neither ("every layer but the
    decision-heads"). No batch normalisation.

    Two additions to the paper's, both off by default: a colour that is a learned mixture of given ones and the
    predicted one, since layers hardly learn to copy a pixel; and a distance that corrects a given one.

    Args:
        in_features: width of the point's feature vector.
        hidden: width of the five layers.
        limit: factor of the distance's tanh: 1 is tanh itself; the truncation uses the whole range for distances that
            occur.
        num_colors: number of given colours.
        starts_at_zero: whether the distance head starts at 0, so that a given distance is initially unchanged.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int = 512,
        limit: float = 1.0,
        num_colors: int = 0,
        starts_at_zero: bool = False,
    ) -> None:
        super().__init__()
        self.limit = limit
        self.layer1 = _layer(in_features, hidden)
        self.layer2 = _layer(hidden, hidden)
        self.layer3 = _layer(hidden + in_features, hidden)
        self.layer4 = _layer(hidden, hidden)
        self.layer5 = _layer(hidden, hidden)
        self.sdf_head = nn.Linear(hidden, 1)
        self.color_head = nn.Linear(hidden, 3 + (num_colors + 1 if num_colors else 0))
        if starts_at_zero:
            nn.init.zeros_(self.sdf_head.weight)
            nn.init.zeros_(self.sdf_head.bias)

    def forward(
        self,
        features: Float[Tensor, "B N F"],
        colors: Float[Tensor, "B N K 3"] | None = None,
        told: Float[Tensor, "B N"] | None = None,
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 3"]]:
        """Signed distance and RGB in [0, 1].

        Args:
            features: features of the points.
            colors: given colours, ``num_colors`` of them.
            told: given distance, clamped to [-limit, limit] and then corrected by at most ``limit``.
        """
        x = self.hidden(features)
        sdf = self.distance(x, told)
        with torch.autocast(x.device.type, enabled=False):
            chosen = self.color_head(x.to(self.color_head.weight.dtype))
            rgb = torch.sigmoid(chosen[..., :3])
            if colors is not None:
                shares = torch.softmax(chosen[..., 3:], -1)
                rgb = (shares[..., None] * torch.cat([colors, rgb[..., None, :]], -2)).sum(-2)
        return sdf, rgb

    def hidden(self, features: Float[Tensor, "B N F"]) -> Float[Tensor, "B N H"]:
        """Input of both heads: the fifth layer's output."""
        x = functional.relu_(self.layer1(features))
        x = functional.relu_(self.layer2(x))
        x = functional.relu_(self.layer3(torch.cat([x, features], dim=-1)))
        x = functional.relu_(self.layer4(x))
        return functional.relu_(self.layer5(x))

    def distance(self, hidden: Float[Tensor, "B N H"], told: Float[Tensor, "B N"] | None) -> Float[Tensor, "B N"]:
        """The signed distance."""
        # bf16 keeps 8 bits, too few for a distance near zero: the heads run outside of mixed precision.
        with torch.autocast(hidden.device.type, enabled=False):
            sdf = self.limit * torch.tanh(self.sdf_head(hidden.to(self.sdf_head.weight.dtype))[..., 0])
            return sdf if told is None else sdf + told.clamp(-self.limit, self.limit)


def _layer(in_features: int, out_features: int) -> nn.Module:
    linear = nn.Linear(in_features, out_features)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    normed: nn.Module = weight_norm(linear)
    return normed
