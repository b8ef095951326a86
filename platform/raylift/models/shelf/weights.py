"""Weights of the shelf-supervised model's terms."""

from __future__ import annotations

from dataclasses import dataclass, fields

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class ShelfWeights:
    """Weights of all terms, by default the original's; a term of weight 0 is not computed.

    Equation 9 prints the sum without weights. The original's code (Ye et al. 2021) has those below; its colours are in
    [-1, 1], ours in [0, 1], so its 10 for equation 4 is 20 here.

    Attributes:
        rgb: (4).
        mask: (5).
        perceptual: (6), LPIPS with AlexNet.
        structure: differences of the images' gradients at several scales: what replaces (6) without AlexNet's weights.
        similarity: (1 - SSIM) / 2, another replacement.
        feature_matching: differences of the discriminator's layers, another replacement.
        adversarial: (7), the generator's side.
        latent_consistency: (8), the latent's half.
        view_consistency: (8), the view's half.
        latent_size: half the squared latent, which keeps latents near a standard normal.
        caption: (11), as 1 - cos or contrastive, of the seen and of a novel view.
        image_similarity: 1 - cos of a novel view and the image, by the image tower of (11).
        anchor: predicted cameras against the poses of a pose search.
        camera_use: how unevenly the batch uses the azimuth bins.
        smoothness: total variation of the density.
        path_length: how unevenly steps of the latent change the picture (StyleGAN2), in a phase of its own.
    """

    rgb: float = 20.0
    mask: float = 50.0
    perceptual: float = 1.0
    structure: float = 0.0
    similarity: float = 0.0
    feature_matching: float = 0.0
    adversarial: float = 1.0
    latent_consistency: float = 100.0
    view_consistency: float = 100.0
    latent_size: float = 0.1
    caption: float = 0.0
    image_similarity: float = 0.0
    anchor: float = 0.0
    camera_use: float = 0.0
    smoothness: float = 0.0
    path_length: float = 0.0

    def __post_init__(self) -> None:
        negative = [part.name for part in fields(self) if getattr(self, part.name) < 0]
        if negative:
            raise ConfigError(f"weights {', '.join(negative)} are below 0", "use weights of 0 or more")

    @property
    def needs_towers(self) -> bool:
        """Whether a term needs image and text towers."""
        return max(self.caption, self.image_similarity) > 0
