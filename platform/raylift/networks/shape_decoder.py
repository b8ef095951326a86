"""D_shape: offsets of an image's shape from the template."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

INITIAL_STD = 1e-4


class ShapeDecoder(nn.Module):
    """Maps the image's feature to an offset of every predicted vertex (D_shape of equation 2).

    Initial offsets are nearly zero, so that the first shapes are the template.

    Args:
        in_features: size of the image's feature.
        num_predicted: number of vertices that determine the shape; half of them for a symmetric template
            (``geometry.icosphere.SymmetricTemplate.expand`` computes the rest).
        hidden: width of the hidden layer; 0 for a linear map, as in CMR and UMR.
    """

    def __init__(self, in_features: int, num_predicted: int, hidden: int = 0) -> None:
        super().__init__()
        self.num_predicted = num_predicted
        self.first = nn.Linear(in_features, hidden) if hidden else None
        self.last = nn.Linear(hidden or in_features, 3 * num_predicted)
        nn.init.normal_(self.last.weight, std=INITIAL_STD)
        nn.init.zeros_(self.last.bias)

    def forward(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B P 3"]:
        """Offsets in world units."""
        x = feature if self.first is None else functional.leaky_relu(self.first(feature), 0.1)
        offsets: Tensor = self.last(x)
        return offsets.reshape(-1, self.num_predicted, 3)
