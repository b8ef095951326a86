"""One feature vector per image, shared by all decoders of the mesh-texture model (F_e of the paper)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.networks.normalization import group_norm
from raylift.networks.pretrained_pyramid import PretrainedPyramid
from raylift.networks.resnet import Backbone, ResNetPyramid, normalize_image

GRID = 4
"""Side of the last map, averaged before it is flattened: pose depends on spatial layout."""


class ImageEncoder(nn.Module):
    """F_e: a ResNet whose last map is reduced, flattened and turned into one vector (CMR: ResNet-18 to 200 features).

    Args:
        backbone: layout of an untrained ResNet.
        num_features: size of the vector.
        width: channels of an untrained ResNet's first stage; 64 is its own. The last map is reduced to four times that.
        pretrained: name of an ImageNet encoder (``networks.trunks``) that replaces the ResNet; "" for none.
        frozen: whether it is not trained.

    Raises:
        ConfigError: an unknown encoder. Missing weights raise a WeightsError at the first use.
    """

    def __init__(
        self,
        backbone: Backbone = "resnet18",
        num_features: int = 200,
        width: int = 64,
        pretrained: str = "",
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.pyramid: ResNetPyramid | PretrainedPyramid = (
            PretrainedPyramid(pretrained, frozen) if pretrained else ResNetPyramid(backbone, width)
        )
        self.reduce = nn.Conv2d(self.pyramid.channels[-1], 4 * width, 1, bias=False)
        self.norm = group_norm(4 * width)
        self.head = nn.Linear(4 * width * GRID * GRID, num_features)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Compute the feature I_f of RGB in [0, 1], of any size from 32 px."""
        own = isinstance(self.pyramid, ResNetPyramid)
        last = self.pyramid(normalize_image(image) if own else image)[-1]
        reduced = functional.relu(self.norm(self.reduce(last)))
        cells = functional.adaptive_avg_pool2d(reduced, GRID)
        return functional.leaky_relu(self.head(cells.flatten(1)), 0.1)
