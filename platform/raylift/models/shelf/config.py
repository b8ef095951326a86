"""Config of the shelf-supervised model, with the original's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.models.shelf.weights import ShelfWeights
from raylift.networks.discriminators.adaptive import AdaptiveConfig
from raylift.networks.discriminators.choice import DiscriminatorKind
from raylift.networks.image_text.opening import check_source
from raylift.networks.pose_posterior import PoseConfig
from raylift.networks.resnet import Backbone
from raylift.networks.volumes.config import VolumeConfig


@dataclass(frozen=True)
class EncoderConfig:
    """phi_E (equation 1).

    Attributes:
        backbone: ResNet layout of an untrained encoder.
        pretrained: ImageNet encoder to use instead, a name of ``networks.trunks``; "" for none.
        frozen: whether a pretrained encoder is not trained.
        width: channels of an untrained encoder's first stage; 64 is ResNet's own.
        num_features: size of the feature that latent and view are computed from.
        latent: size of z.
    """

    backbone: Backbone = "resnet18"
    pretrained: str = ""
    frozen: bool = False
    width: int = 64
    num_features: int = 128
    latent: int = 128

    def __post_init__(self) -> None:
        require_at_least(self, 1, "width", "num_features", "latent")


@dataclass(frozen=True)
class CameraConfig:
    """Predicted views.

    Attributes:
        kind: "angles" (the original: one azimuth and one elevation, with fixed scale and shift), or "bins" (one camera
            in each of several azimuth bins with its probability; elevation and roll within ``poses.ranges``).
        num_hypotheses: number of azimuth bins.
        rendered: number of an image's most probable cameras of "bins" that are rendered; 0 renders all.
        initial_scale: image half-widths per world unit at the start, and for ever with "angles"; 1.8 fills a crop with
            a margin of a tenth.
        trained_by: cameras that volumes are trained by: "predicted" are the encoder's, which losses move; "searched"
            are those of the pose search's posterior, constants, which the encoder's follow by ``weights.anchor`` alone;
            "known" are the data set's own, in the same role.
        distil_steps: steps of "bins" that train cameras alone, on the poses of the pose search's run; all other terms
            start after them.
    """

    kind: Literal["angles", "bins"] = "angles"
    num_hypotheses: int = 12
    rendered: int = 3
    initial_scale: float = 1.8
    trained_by: Literal["predicted", "searched", "known"] = "predicted"
    distil_steps: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, 2, "num_hypotheses")
        require_at_least(self, 0, "rendered", "distil_steps")
        if self.rendered > self.num_hypotheses:
            raise ConfigError(f"camera.rendered is {self.rendered} of {self.num_hypotheses}", "use a smaller number")
        if self.initial_scale <= 0:
            raise ConfigError(f"camera.initial_scale is {self.initial_scale}", "use a scale above 0")


@dataclass(frozen=True)
class RenderConfig:
    """pi (equation 3).

    Attributes:
        view_px: side of the rendered views, to which images are reduced for the losses.
        num_samples: samples per ray.
    """

    view_px: int = 64
    num_samples: int = 48

    def __post_init__(self) -> None:
        require_at_least(self, 8, "view_px")
        require_at_least(self, 2, "num_samples")


@dataclass(frozen=True)
class ViewPriorConfig:
    """p(v): the prior of novel views, framed like crops.

    Attributes:
        azimuth_deg, elevation_deg: ranges, uniform. The original uses all azimuths and elevations from -5 to 30.
        fill: the object's longest side as a fraction of the image's, as in the real crops.
    """

    azimuth_deg: tuple[float, float] = (0.0, 360.0)
    elevation_deg: tuple[float, float] = (-5.0, 30.0)
    fill: float = 0.9

    def __post_init__(self) -> None:
        for name in ("azimuth_deg", "elevation_deg"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ConfigError(f"views.{name} is ({low}, {high})", "use (lowest, highest)")
        if not -90 <= self.elevation_deg[0] <= self.elevation_deg[1] <= 90:
            raise ConfigError(f"views.elevation_deg is {self.elevation_deg}", "use values within -90 and 90")
        if not 0 < self.fill <= 1:
            raise ConfigError(f"views.fill is {self.fill}", "use a fraction above 0 and at most 1")


@dataclass(frozen=True)
class CriticConfig:
    """D of equation 7; used where ``weights.adversarial`` is above 0.

    Attributes:
        kind: "statistics" (the original's) or "residual" (StyleGAN2's).
        sees: "rgb" on white; "random": RGB on random backgrounds, the same for an image and its renders; or "rgba":
            premultiplied colour and coverage, which has no background to be told by.
        width: channels of the first layer.
        every: steps between its updates.
        fake_weight: weight of either rendered view.
        trains: what the adversarial term trains: the decoder alone (the original), or latents too ("both").
        from_step: first step of the adversarial terms.
        r1: weight of the gradient penalty, in units of StyleGAN2's 0.0002 px^2 / batch; 0 for none (the original).
        lazy_every: steps between gradient penalties, and between path length terms; their weights are multiplied by it.
        augmentation: of real and rendered pictures alike; by default none (the original).
    """

    kind: DiscriminatorKind = "statistics"
    sees: Literal["rgb", "random", "rgba"] = "rgb"
    width: int = 128
    every: int = 2
    fake_weight: float = 0.5
    trains: Literal["decoder", "both"] = "decoder"
    from_step: int = 0
    r1: float = 0.0
    lazy_every: int = 16
    augmentation: AdaptiveConfig = field(default_factory=lambda: AdaptiveConfig(target=0.0))

    def __post_init__(self) -> None:
        require_at_least(self, 1, "width", "every", "lazy_every")
        require_at_least(self, 0, "from_step")
        if self.fake_weight < 0 or self.r1 < 0:
            raise ConfigError(f"critic.fake_weight {self.fake_weight}, r1 {self.r1}", "use values of 0 or more")


@dataclass(frozen=True)
class CaptionConfig:
    """Supervision by an image-text network; used where ``weights.caption`` or ``image_similarity`` is above 0.

    Attributes:
        towers: which network: "ViT-B-16:FILE" or "local-dir:FOLDER" for open_clip, "run:FOLDER" for two towers that
            ``image_text/quick`` trained on this data set; see ``networks.image_text.opening``.
        form: "cosine" (equation 11) or "contrastive" over the batch, where a score that all captions share cancels.
        scale: inverse temperature of "contrastive".
        from_step: first step of these terms.
    """

    towers: str = ""
    form: Literal["cosine", "contrastive"] = "cosine"
    scale: float = 20.0
    from_step: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, 0, "from_step")
        if self.scale <= 0:
            raise ConfigError(f"captions.scale is {self.scale}", "use a scale above 0")
        if self.towers:
            check_source(self.towers)


@dataclass(frozen=True)
class ShelfConfig:
    """The shelf-supervised model.

    Attributes:
        image_px: the image's side as the encoder sees it.
        padding, jitter, mirror: padding, jitter and mirroring of the crop around each object.
        poses: possible poses; for weights.anchor also how they are compared, as in the pose search that initialises
            this run.
        others: nested configs, see their classes.
    """

    image_px: int = 224
    padding: float = 0.05
    jitter: float = 0.05
    mirror: bool = True
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    volume: VolumeConfig = field(default_factory=VolumeConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    views: ViewPriorConfig = field(default_factory=ViewPriorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    captions: CaptionConfig = field(default_factory=CaptionConfig)
    weights: ShelfWeights = field(default_factory=ShelfWeights)

    def __post_init__(self) -> None:
        require_at_least(self, 32, "image_px")
        if self.camera.kind != "bins" and max(self.weights.anchor, self.weights.camera_use) > 0:
            raise ConfigError(
                "weights.anchor and camera_use need azimuth bins",
                "set model.camera.kind=bins, or model.weights.anchor=0 and model.weights.camera_use=0",
            )
        if self.weights.feature_matching > 0 and self.weights.adversarial == 0:
            raise ConfigError(
                "weights.feature_matching needs a discriminator",
                "set model.weights.adversarial above 0, or model.weights.feature_matching=0",
            )
        if self.camera.trained_by == "searched" and not (self.camera.kind == "bins" and self.weights.anchor):
            raise ConfigError(
                "camera.trained_by=searched needs the poses of a pose search",
                "set model.weights.anchor above 0 with model.camera.kind=bins, or model.camera.trained_by=predicted",
            )
        if self.camera.trained_by == "known" and not (self.camera.kind == "bins" and self.weights.anchor):
            raise ConfigError(
                "camera.trained_by=known trains the encoder's cameras by their anchor",
                "set model.weights.anchor above 0 with model.camera.kind=bins, or model.camera.trained_by=predicted",
            )
        if self.camera.distil_steps and not (self.camera.kind == "bins" and self.weights.anchor):
            raise ConfigError(
                "camera.distil_steps needs an anchor",
                "set model.weights.anchor above 0 with model.camera.kind=bins, or model.camera.distil_steps=0",
            )
        if self.weights.needs_towers and not self.captions.towers:
            raise ConfigError(
                "weights.caption and image_similarity need image and text towers",
                "set model.captions.towers, such as ViT-B-16:FILE or run:FOLDER of image_text/quick, or these weights"
                " to 0",
            )
        self._check_prior()

    def _check_prior(self) -> None:
        if self.camera.kind != "bins":
            return
        low, high = self.poses.ranges.elevation_deg
        prior_low, prior_high = self.views.elevation_deg
        if prior_high < low or prior_low > high:
            raise ConfigError(
                f"views.elevation_deg {self.views.elevation_deg} and poses.ranges.elevation_deg ({low}, {high}) have"
                " nothing in common",
                "use ranges that contain the elevations of the images",
            )
