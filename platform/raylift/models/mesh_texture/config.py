"""Config of the mesh-texture model, with the papers' values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.models.mesh_texture.weights import MeshTextureWeights, TermSchedule
from raylift.networks.feature_extractors import FeatureName
from raylift.networks.pose_posterior import PoseConfig
from raylift.networks.resnet import Backbone

CameraKind = Literal["single", "hypotheses", "bins", "multiplex", "keypoints"]


@dataclass(frozen=True)
class EncoderConfig:
    """F_e.

    Attributes:
        backbone: ResNet layout of an untrained encoder.
        pretrained: ImageNet encoder to use instead: "torchvision:resnet18" (CMR, UCMR and UMR), or another name of
            ``networks.trunks``; "" for none. Its batch normalisation statistics are fixed.
        frozen: whether a pretrained encoder is not trained.
        width: channels of an untrained encoder's first stage, and a quarter of the channels of the reduced last map; 64
            is ResNet's own.
        num_features: size of the image's feature vector.
    """

    backbone: Backbone = "resnet18"
    pretrained: str = ""
    frozen: bool = False
    width: int = 64
    num_features: int = 200

    def __post_init__(self) -> None:
        require_at_least(self, 1, "width", "num_features")


@dataclass(frozen=True)
class ShapeConfig:
    """The template and D_shape.

    Attributes:
        level: subdivision level of the template's initial icosphere: 3 has 642 vertices and 1280 faces.
        symmetric: whether shapes are symmetric about x = 0.
        hidden: width of D_shape's middle layer; 0 is a linear map.
        refresh_every: epochs between updates of the template to the shape of the training set's mean feature; 0 never
            updates it.
        smoothness: what Laplacian and flatness terms sum: "lengths" (equations 4 and 6 as printed) or "squares"
            (SoftRas and UMR). Their weights differ: on smooth shapes squares are 1/10 to 1/200 of lengths.
        trained: whether the template is a trained parameter (CMR, UCMR), instead of being refreshed.
        radii: half axes of the template's initial ellipsoid: across the mirror plane, up, front to back.
        from_keypoints: whether the template becomes the hull of the keypoints' structure once that is solved (CMR).
    """

    level: int = 3
    symmetric: bool = True
    hidden: int = 0
    refresh_every: int = 5
    smoothness: Literal["lengths", "squares"] = "lengths"
    trained: bool = False
    radii: tuple[float, float, float] = (0.5, 0.5, 0.5)
    from_keypoints: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, 0, "level", "hidden", "refresh_every")
        if self.trained and self.refresh_every:
            raise ConfigError("the template is both trained and refreshed", "set model.shape.refresh_every=0")
        if min(self.radii) <= 0:
            raise ConfigError(f"shape.radii is {self.radii}", "use half axes above 0")


@dataclass(frozen=True)
class TextureConfig:
    """D_flow and the mapping phi.

    Attributes:
        predicts: "flow" reads the image; "colors" predicts RGB (UCMR), to which the flow's terms do not apply.
        height, width: size of the texture, texels; the height is 4 times a power of two.
        symmetric: whether both sides have the same colours.
        from_object: whether, in reconstructions, a texel read outside of the silhouette gets the colour of the nearest
            pixel inside. Training reads the unchanged image: its background constrains the shapes' outlines.
        moves_shape: whether reconstruction and perceptual terms also train the shape; CMR and UMR hold it fixed.
        moves_camera: whether they also train the camera. CMR, UMR and UCMR hold it fixed, because a flow that reads the
            front of the image pulls every camera to the front.
        channels: channels of the flow decoder's coarsest map.
        samples_a_side: points per side of the n x n points that a face's flow is averaged over (equation 12).
    """

    predicts: Literal["flow", "colors"] = "flow"
    height: int = 128
    width: int = 256
    symmetric: bool = True
    from_object: bool = True
    moves_shape: bool = True
    moves_camera: bool = False
    channels: int = 256
    samples_a_side: int = 6

    def __post_init__(self) -> None:
        require_at_least(self, 1, "height", "width", "channels", "samples_a_side")


@dataclass(frozen=True)
class CameraConfig:
    """D_cam, and how cameras are estimated.

    Attributes:
        kind: "single" (one regressed camera), "hypotheses" (UMR's second stage: several, each with its probability),
            "bins" (one camera in each of several azimuth bins, elevation and roll within ``poses.ranges``),
            "multiplex" (UCMR: a pruned table of cameras per image, to which D_cam is fitted) or "keypoints" (CMR: one
            regressed camera, fitted to the camera solved from the image's keypoints).
        num_hypotheses: number of cameras of "hypotheses" and "bins", 360 / num_hypotheses degrees apart.
        azimuths, elevations_deg: number of azimuths of "multiplex", and the elevations at each.
        keep: cameras per image of "multiplex" after pruning.
        prune_epochs: epochs after which "multiplex" drops an equal share of the cameras, down to ``keep`` after the
            last.
        temperature: temperature of the cameras' probabilities of "multiplex", softmax(-score / temperature); scores
            range from 0, an image's best camera, to 1, its worst.
        pictures: hypotheses that are rendered with textures. "all": the expectation over hypotheses of the whole error
            (silhouettes, textured renders and parts) trains their probabilities. "drawn": the same with one hypothesis
            per sample and step, drawn by its probability; as cheap as "best", noisier than "all". "best": the most
            probable one; only silhouettes and parts train probabilities.
        initial_scale: initial image half-widths per world unit; 1.8 fills a crop with a margin of a tenth.
        initial_elevation_deg: initial elevation of "single", "hypotheses" and "keypoints".
        rendered: number of an image's most probable cameras of "bins" that are rendered and trained by silhouettes; 0
            renders all.
        distil_steps: steps of "bins" that train D_cam alone, on the poses of the pose search's run; all other terms
            start after them.
    """

    kind: CameraKind = "single"
    num_hypotheses: int = 8
    azimuths: int = 8
    elevations_deg: tuple[float, ...] = (-30.0, -10.0, 10.0, 30.0, 50.0)
    keep: int = 4
    prune_epochs: tuple[int, ...] = (20, 40)
    temperature: float = 0.05
    pictures: Literal["best", "drawn", "all"] = "best"
    initial_scale: float = 1.8
    initial_elevation_deg: float = 0.0
    rendered: int = 0
    distil_steps: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, 1, "num_hypotheses", "azimuths", "keep")
        require_at_least(self, 0, "distil_steps", "rendered")
        if self.rendered > self.num_hypotheses:
            raise ConfigError(f"camera.rendered is {self.rendered} of {self.num_hypotheses}", "use a smaller number")
        if self.temperature <= 0 or self.initial_scale <= 0:
            raise ConfigError(
                f"camera.temperature {self.temperature}, initial_scale {self.initial_scale}", "use values above 0"
            )
        if not self.elevations_deg or self.keep > self.azimuths * len(self.elevations_deg):
            raise ConfigError(
                f"camera.keep is {self.keep} of {self.azimuths * len(self.elevations_deg)} cameras", "keep fewer"
            )
        if list(self.prune_epochs) != sorted({epoch for epoch in self.prune_epochs if epoch >= 0}):
            raise ConfigError(f"camera.prune_epochs is {self.prune_epochs}", "use epochs in increasing order")


@dataclass(frozen=True)
class VarianceConfig:
    """D_var (equations 11-32).

    Attributes:
        enabled: whether D_var is used; without it the sampling image is the image itself.
        channels: channels of the variation: 3 varies each colour, 1 the brightness.
        limit: largest factor.
        resolution: side of the decoded image, which is upsampled to the input image.
        width: channels of the decoder's coarsest map.
        step_size: alpha of equations 31 and 32: the fraction of the distance to the pseudo-label per full step.
        num_steps: number of unrolled steps of equations 31 and 32.
    """

    enabled: bool = False
    channels: Literal[1, 3] = 3
    limit: float = 2.0
    resolution: int = 64
    width: int = 128
    step_size: float = 0.5
    num_steps: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "width", "num_steps")
        if self.limit <= 1 or self.step_size <= 0:
            raise ConfigError(
                f"variance.limit {self.limit}, step_size {self.step_size}", "use a limit above 1 and a positive step"
            )


@dataclass(frozen=True)
class RenderConfig:
    """The soft rasteriser.

    Attributes:
        sigma: softness of silhouettes, in squared normalised coordinates: 1e-5 in UMR, at 256 px.
        texture_sigma: softness of textured renders, same units.
        gamma: softness of depth in textured renders.
        faces_per_pixel: faces blended per textured pixel.
        silhouette_faces: largest number of faces that contribute to a silhouette's pixel on a GPU; the CPU uses all.
            Memory grows with it: 28 bytes per pixel, image and face, forward.
    """

    sigma: float = 1e-5
    texture_sigma: float = 1e-5
    gamma: float = 1e-4
    faces_per_pixel: int = 8
    silhouette_faces: int = 100

    def __post_init__(self) -> None:
        require_at_least(self, 1, "faces_per_pixel", "silhouette_faces")
        if self.silhouette_faces > 150:
            raise ConfigError(f"render.silhouette_faces is {self.silhouette_faces}", "use at most 150")
        if min(self.sigma, self.texture_sigma, self.gamma) <= 0:
            raise ConfigError(f"render.sigma {self.sigma}, gamma {self.gamma}", "use values above 0")


@dataclass(frozen=True)
class RandomViewConfig:
    """cam' of equation 36, framed like crops.

    Attributes:
        source: source of views. "range" draws upright cameras uniformly from the ranges below. "turned" turns each
            image's own camera about the object's up axis by an angle of ``azimuth_deg`` (UMR), so elevations are those
            of the images. "learned" takes the predicted rotation of another training image; until one is stored, the
            ranges.
        azimuth_deg, elevation_deg: ranges in degrees.
        fill: the object's longest side as a fraction of the image's, as in the real crops.
    """

    source: Literal["range", "turned", "learned"] = "range"
    azimuth_deg: tuple[float, float] = (0.0, 360.0)
    elevation_deg: tuple[float, float] = (-10.0, 30.0)
    fill: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.fill <= 1:
            raise ConfigError(f"views.fill is {self.fill}", "use a fraction above 0 and at most 1")


@dataclass(frozen=True)
class CriticConfig:
    """D of equations 37-39; used where ``weights.adversarial`` is above 0.

    Attributes:
        sees: input: "rgb" images, or silhouettes ("mask").
        real: real samples: "images" of the training set, or "renders", the shapes rendered by their own images'
            cameras, held constant (UMR's first stage). Renders do not differ in edge softness or thin parts, which no
            render has.
        kind: one logit per image, or one per patch.
        width: channels after the first downsampling.
        every: steps between its updates.
        penalty: weight of the gradient penalty.
        reversal: scale of the adversarial term's gradient before it reaches the generator (UMR: 0.2).
    """

    sees: Literal["rgb", "mask"] = "rgb"
    real: Literal["images", "renders"] = "images"
    kind: Literal["patch", "global"] = "patch"
    width: int = 64
    every: int = 1
    penalty: float = 10.0
    reversal: float = 0.2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "width", "every")
        if self.penalty < 0 or self.reversal <= 0:
            raise ConfigError(f"critic.penalty {self.penalty}, reversal {self.reversal}", "use positive values")


@dataclass(frozen=True)
class FrechetConfig:
    """Equations 40-47.

    Attributes:
        extractor: feature extractor; see ``networks.feature_extractors``.
        running: whether to compare with the training set's moments and average the rendered images' over steps;
            otherwise batches are compared, whose covariances are underestimates.
        num_real: images for the real moments, all if the set has fewer. Until they are collected (one epoch for a small
            set), the term is 0.
        rank: number of principal directions of the real features for the covariances' square root.
        decay: decay of the rendered images' moments.
    """

    extractor: FeatureName = "inception_v3"
    running: bool = True
    num_real: int = 10000
    rank: int = 256
    decay: float = 0.99

    def __post_init__(self) -> None:
        require_at_least(self, 1, "num_real", "rank")
        if not 0 <= self.decay < 1:
            raise ConfigError(f"frechet.decay is {self.decay}", "use a decay in [0, 1)")


@dataclass(frozen=True)
class PartsConfig:
    """Parts of the image and of the mesh (equations 13 and 14).

    Attributes:
        use: "never", or "always", which rejects data sets without part maps.
        learn: whether the template's parts are voted for by the part maps of all images, projected by the predicted
            cameras, and updated with the template; otherwise the parts of the initial run stay.
        points: points drawn from an image's map per part, without the background (UMR: 10, 10, 30, 30); the last
            applies to further parts.
    """

    use: Literal["never", "always"] = "never"
    learn: bool = True
    points: tuple[int, ...] = (10, 10, 30, 30)

    def __post_init__(self) -> None:
        if not self.points or min(self.points) < 1:
            raise ConfigError(f"parts.points is {self.points}", "use at least one count of 1 or more")


@dataclass(frozen=True)
class MeshTextureConfig:
    """The mesh-texture model.

    Attributes:
        image_px: the image's side as the encoder and the rasteriser see it.
        padding, jitter, mirror: padding, jitter and mirroring of the crop around each object.
        poses: for camera.kind "bins": possible poses and how they are compared; as in the pose search that initialises
            this run.
        others: nested configs, see their classes.
    """

    image_px: int = 256
    padding: float = 0.05
    jitter: float = 0.05
    mirror: bool = True
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    texture: TextureConfig = field(default_factory=TextureConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    poses: PoseConfig = field(default_factory=PoseConfig)
    variance: VarianceConfig = field(default_factory=VarianceConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    views: RandomViewConfig = field(default_factory=RandomViewConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    frechet: FrechetConfig = field(default_factory=FrechetConfig)
    parts: PartsConfig = field(default_factory=PartsConfig)
    weights: MeshTextureWeights = field(default_factory=MeshTextureWeights)
    terms: TermSchedule = field(default_factory=TermSchedule)

    def __post_init__(self) -> None:
        require_at_least(self, 16, "image_px")
        weights = self.weights
        if not self.variance.enabled and max(weights.pseudo_label, weights.searched) > 0:
            raise ConfigError("the weights of equations 31 and 32 need D_var", "set model.variance.enabled=true")
        if self.parts.use == "never" and max(weights.part_chamfer, weights.part_probability) > 0:
            raise ConfigError("the weights of parts need part maps", "set model.parts.use=always, or the weights to 0")
        if self.texture.predicts == "colors" and (
            self.variance.enabled or max(weights.align, weights.cycle, weights.texture_distance) > 0
        ):
            raise ConfigError(
                "the weights of texture flow terms need a flow, not predicted colours",
                "set model.texture.predicts=flow, or the weights align, cycle and texture_distance to 0 and"
                " model.variance.enabled=false",
            )
        if self.camera.kind != "keypoints" and self.shape.from_keypoints:
            raise ConfigError("shape.from_keypoints needs keypoints", "set model.camera.kind=keypoints")
        if self.camera.kind != "keypoints" and max(weights.keypoint, weights.camera, weights.assignment) > 0:
            raise ConfigError("the weights of keypoints need keypoints", "set model.camera.kind=keypoints")
        if self.camera.kind not in ("hypotheses", "bins") and weights.camera_entropy > 0:
            raise ConfigError(
                f"weights.camera_entropy needs trained probabilities, but camera.kind is {self.camera.kind!r}",
                "set model.weights.camera_entropy=0, or model.camera.kind=hypotheses or bins",
            )
        if self.camera.kind != "bins" and max(weights.anchor, self.camera.distil_steps) > 0:
            raise ConfigError(
                "weights.anchor needs azimuth bins", "set model.camera.kind=bins, or model.weights.anchor=0"
            )
        if self.camera.distil_steps > 0 and weights.anchor == 0:
            raise ConfigError("camera.distil_steps needs an anchor", "set model.weights.anchor above 0")
        if self.camera.kind == "multiplex" and self.jitter > 0:
            raise ConfigError(
                f"a camera multiplex needs fixed crops, but jitter is {self.jitter}",
                "set model.jitter=0: an image's stored cameras must match its crop",
            )
