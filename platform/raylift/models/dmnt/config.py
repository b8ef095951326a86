"""Config of neural textured deformable meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.tree import FREE
from raylift.core.errors import ConfigError
from raylift.models.dmnt.augmentation import AugmentationConfig
from raylift.models.dmnt.inference.config import InferenceConfig
from raylift.models.dmnt.weights import ContrastConfig
from raylift.networks.deformable_templates import DeformableTemplatesConfig
from raylift.networks.neural_texture import NeuralTextureConfig
from raylift.networks.stride_features import StrideFeaturesConfig


@dataclass(frozen=True)
class DmntConfig:
    """Neural textured deformable meshes.

    Attributes:
        image_px: the image's side.
        visible_above: part of a cell that must show the object for its feature to be one of the surface.
        background_below: part of a cell below which its feature is one of the background.
        augmentation: how training images are changed.
        features: the backbone.
        texture: the banks.
        templates: the meshes, as in the run of ``templates/`` that this one starts from.
        start_shapes: shapes that training images start at: "objects", those that the templates' run has fitted to the
            objects that they show, or, for unknown ones and with "mean", their categories' mean shapes.
        contrast: the loss.
        inference: how class, pose and shape are found; it does not decide what is learned.
        prior: weight of half the squared length of a training image's whitened latent.
    """

    image_px: int = 640
    visible_above: float = 0.5
    background_below: float = 0.05
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    features: StrideFeaturesConfig = field(default_factory=StrideFeaturesConfig)
    texture: NeuralTextureConfig = field(default_factory=NeuralTextureConfig)
    templates: DeformableTemplatesConfig = field(default_factory=DeformableTemplatesConfig)
    start_shapes: Literal["objects", "mean"] = "objects"
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    prior: float = 0.01
    inference: InferenceConfig = field(default_factory=InferenceConfig, metadata=FREE)

    def __post_init__(self) -> None:
        if self.image_px < 32 or self.image_px % self.features.stride:
            raise ConfigError(
                f"image_px is {self.image_px} at a stride of {self.features.stride}",
                "use at least 32, and a multiple of features.stride",
            )
        if not 0 <= self.background_below <= self.visible_above <= 1:
            raise ConfigError(
                f"background_below is {self.background_below}, visible_above {self.visible_above}",
                "use 0 <= background_below <= visible_above <= 1",
            )
        if self.prior < 0:
            raise ConfigError(f"prior is {self.prior}", "use a weight of 0 or more")
        if self.contrast.weights.background == 0 and self.texture.num_clutter:
            raise ConfigError(
                "features are not opposed to the background, but clutter is to be told from objects",
                "set model.texture.num_clutter=0, or model.contrast.weights.background above 0",
            )

    @property
    def cells(self) -> int:
        """Side of the feature map."""
        return self.image_px // self.features.stride
