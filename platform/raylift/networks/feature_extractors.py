"""Features of whole images for the Fréchet distance, from networks that are not trained here."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError

FeatureName = Literal["inception_v3", "vgg16", "alexnet", "random"]
NUM_FEATURES = {"inception_v3": 2048, "vgg16": 512, "alexnet": 256, "random": 128}
"""Feature size of each extractor."""
INCEPTION_PX = 299
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RandomFeatures(nn.Module):
    """Untrained convolutions with fixed weights: statistics of edges and colours, without any download. Far weaker than
    trained features, but still a distance of distributions; for tests and first runs.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        widths = (3, 32, 64, 128)
        for index, (wide, wider) in enumerate(pairwise(widths)):
            kernel = torch.randn(wider, wide, 4, 4, generator=draws) / math.sqrt(8 * wide)
            self.register_buffer(f"kernel_{index}", kernel)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        x = 2 * image - 1
        for index in range(3):
            x = functional.leaky_relu(functional.conv2d(x, getattr(self, f"kernel_{index}"), stride=2, padding=1), 0.2)
        return x.mean(dim=(2, 3))


class ConvolutionFeatures(nn.Module):
    """The last map of ImageNet's AlexNet or VGG16, averaged over the image."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: Literal["alexnet", "vgg16"]) -> None:
        super().__init__()
        from raylift.networks.perceptual import trunk_layers
        from raylift.networks.pretrained import imagenet_convolutions

        self.layers = nn.Sequential(*trunk_layers(name))
        weights = imagenet_convolutions(name)
        self.layers.load_state_dict({key.removeprefix("features."): value for key, value in weights.items()})
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        features: Tensor = self.layers((image - self.mean) / self.std)
        return features.mean(dim=(2, 3))


class InceptionFeatures(nn.Module):
    """Inception V3's 2048 features before its classifier (equations 40 and 41), of images upsampled to 299 px."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.inception import Inception3

        from raylift.networks.pretrained import inception_state

        # Skip initialisation: the values are overwritten, and drawing them takes most of a minute.
        self.network = Inception3(aux_logits=True, transform_input=False, init_weights=False)
        self.network.load_state_dict(inception_state())
        self.network.AuxLogits = None
        self.network.fc = nn.Identity()

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        size = (INCEPTION_PX, INCEPTION_PX)
        large = functional.interpolate(image, size, mode="bilinear", align_corners=False)
        # Inception's own weights were trained on [-1, 1].
        features: Tensor = self.network(2 * large - 1)
        return features


class Frozen:
    """A network outside of the model: not trained, not in its checkpoints, moved to the device of its inputs.

    Args:
        network: network to set to eval mode, without gradients to its parameters.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval().requires_grad_(False)

    def __call__(self, *pictures: Tensor) -> Tensor:
        """Run the network; gradients reach the pictures."""
        first = pictures[0]
        network = self._network.to(first.device, first.dtype)
        value: Tensor = network(*pictures)
        return value


def open_features(name: FeatureName) -> Frozen:
    """Load the extractor of that name.

    Raises:
        ConfigError: an unknown name.
        WeightsError: missing weights; the message says which file to put where.
    """
    if name == "random":
        return Frozen(RandomFeatures())
    if name == "inception_v3":
        return Frozen(InceptionFeatures())
    if name in ("alexnet", "vgg16"):
        return Frozen(ConvolutionFeatures(name))
    raise ConfigError(f"unknown feature extractor {name!r}", f"use one of {', '.join(NUM_FEATURES)}")
