"""The network of the mesh-texture model: encoder, template, the four decoders and their outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError, DataError
from raylift.core.precision import at_least_float32
from raylift.core.types import Batch, Camera, Mesh
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.uv_sphere import face_sample_uvs, texel_map
from raylift.losses.texture_flow import sample_adaptively, sample_by_flow
from raylift.models.mesh_texture.cameras import mirrored_cameras
from raylift.models.mesh_texture.config import MeshTextureConfig
from raylift.models.mesh_texture.renderer import Renderer
from raylift.models.mesh_texture.template import Template
from raylift.networks.camera_decoder import BoundedCameraDecoder, CameraDecoder
from raylift.networks.camera_multiplex import CameraMultiplex
from raylift.networks.color_decoder import ColorDecoder
from raylift.networks.flow_decoder import FlowDecoder, front_view_flow
from raylift.networks.image_encoder import ImageEncoder
from raylift.networks.pose_posterior import PosePosterior
from raylift.networks.shape_decoder import ShapeDecoder
from raylift.networks.variance_decoder import VarianceDecoder


@dataclass(frozen=True)
class Decoded:
    """Outputs of the decoders for a batch of B images.

    Attributes:
        feature: F_e(I_r).
        offsets: delta V, world units.
        vertices: V_pred = V_temp + delta V.
        flow: I_flow, or None where colours are predicted.
        colors: the predicted texture, or None where it is read.
        variance: I_var, or None without D_var.
        regressed: cameras of D_cam.
        cameras: cameras that losses use: D_cam's, or the multiplex's.
    """

    feature: Float[Tensor, "B D"]
    offsets: Float[Tensor, "B V 3"]
    vertices: Float[Tensor, "B V 3"]
    flow: Float[Tensor, "B 2 Ht Wt"] | None
    colors: Float[Tensor, "B 3 Ht Wt"] | None
    variance: Float[Tensor, "B C H W"] | None
    regressed: CameraHypotheses
    cameras: CameraHypotheses

    @property
    def num_hypotheses(self) -> int:
        return self.cameras.scale.shape[1]


class MeshTextureNetwork(nn.Module):
    """Image -> shape, texture flow, cameras, variance image.

    Args:
        config: sizes and kinds of the parts.
        info: description of the data set.

    Raises:
        ConfigError: a kind of camera that the data set does not support.
    """

    face_uvs: Tensor
    texel_face: Tensor
    texel_weights: Tensor

    def __init__(self, config: MeshTextureConfig, info: DatasetInfo) -> None:
        super().__init__()
        self.config = config
        features = config.encoder.num_features
        wanted = config.encoder
        self.encoder = ImageEncoder(wanted.backbone, features, wanted.width, wanted.pretrained, wanted.frozen)
        self.template = Template(config.shape, features, info)
        self.shape = ShapeDecoder(features, self.template.num_predicted, config.shape.hidden)
        texture, camera = config.texture, config.camera
        size = (texture.height, texture.width)
        self.flow = self.colors = None
        if texture.predicts == "flow":
            start = front_view_flow(*size)
            self.flow = FlowDecoder(features, *size, texture.symmetric, start, texture.channels)
        else:
            self.colors = ColorDecoder(features, *size, texture.symmetric, texture.channels)
        self.camera: CameraDecoder | BoundedCameraDecoder
        if camera.kind == "bins":
            self.camera = BoundedCameraDecoder(
                features, camera.num_hypotheses, camera.initial_scale, config.poses.ranges
            )
        else:
            self.camera = CameraDecoder(
                features,
                camera.num_hypotheses if camera.kind == "hypotheses" else 1,
                camera.initial_scale,
                camera.initial_elevation_deg,
            )
        self.poses = PosePosterior(config.poses) if config.weights.anchor > 0 else None
        self.multiplex = None
        if camera.kind == "multiplex":
            if not info.num_images:
                raise ConfigError(
                    "a camera multiplex needs a data set with images", "build the model with its training set's info"
                )
            self.multiplex = CameraMultiplex(
                info.num_images, camera.azimuths, camera.elevations_deg, camera.initial_scale
            )
        self.variance = None
        if config.variance.enabled:
            varied = config.variance
            self.variance = VarianceDecoder(
                features, config.image_px, varied.channels, varied.limit, varied.resolution, varied.width
            )
        template = self.template
        self.renderer = Renderer(template.faces, template.uvs, config.image_px, config.render)
        self.register_buffer("face_uvs", face_sample_uvs(template.uvs, texture.samples_a_side), persistent=False)
        texels = texel_map(template.sphere, template.faces, texture.height, texture.width)
        self.register_buffer("texel_face", texels.face, persistent=False)
        self.register_buffer("texel_weights", texels.barycentrics, persistent=False)

    def decode(self, batch: Batch) -> Decoded:
        """Run everything on a batch; in training, cameras come from the multiplex if there is one, else from D_cam."""
        feature = at_least_float32(self.encoder(batch["image"]))
        flow = None if self.flow is None else at_least_float32(self.flow(feature))
        colors = None if self.colors is None else at_least_float32(self.colors(feature))
        variance = None if self.variance is None else at_least_float32(self.variance(feature))
        # Coordinates keep full precision under mixed precision.
        with torch.autocast(feature.device.type, enabled=False):
            offsets = self.template.offsets(self.shape(feature))
            regressed = self.camera(feature)
        wanted = self.config.camera
        cameras = regressed.top(wanted.rendered) if wanted.kind == "bins" and wanted.rendered else regressed
        if self.multiplex is not None and self.training:
            cameras = self.multiplex(batch["image_index"])
            if "mirrored" in batch:
                cameras = mirrored_cameras(cameras, batch["mirrored"] > 0.5)
        return Decoded(
            feature=feature,
            offsets=offsets,
            vertices=self.template.vertices + offsets,
            flow=flow,
            colors=colors,
            variance=variance,
            regressed=regressed,
            cameras=cameras,
        )

    @staticmethod
    def texture(image: Float[Tensor, "B 3 H W"], decoded: Decoded) -> Float[Tensor, "B 3 Ht Wt"]:
        """I_uv: equation 7, with the gradient of 11 if D_var is enabled; or the predicted colours.

        Args:
            image: I_r, which textures are read from.
        """
        if decoded.colors is not None:
            return decoded.colors
        assert decoded.flow is not None
        if decoded.variance is None:
            return sample_by_flow(image, decoded.flow)
        return sample_adaptively(image, decoded.variance, decoded.flow)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> list[tuple[Mesh, Camera]]:
        """Textured meshes in the world convention (centred, longest edge 1), each with its most probable camera."""
        decoded = self.decode(batch)
        reads_object = self.config.texture.from_object and self.flow is not None
        image = batch["object_colors" if reads_object else "image"]
        textures = self.texture(image, decoded).float().clamp(0, 1).permute(0, 2, 3, 1)
        best = decoded.regressed.best()
        found = []
        for index, vertices in enumerate(decoded.vertices.float()):
            placed, camera = in_world_frame(vertices, WeakPerspective(*(part[index : index + 1] for part in best)))
            mesh = Mesh(
                vertices=placed,
                faces=self.template.faces,
                corner_uvs=self.template.uvs,
                texture=textures[index].contiguous(),
            )
            found.append((mesh, from_weak_perspective(camera)))
        return found


def in_world_frame(
    vertices: Float[Tensor, "V 3"], camera: WeakPerspective
) -> tuple[Float[Tensor, "V 3"], WeakPerspective]:
    """Centre a shape and scale its longest edge to 1, with the same image: v' = (v - c) / l, s' = s l, t' = t + s R c.

    Args:
        camera: B = 1.

    Raises:
        DataError: the shape has no extent, or is not finite.
    """
    low, high = vertices.amin(dim=0), vertices.amax(dim=0)
    center, edge = (low + high) / 2, (high - low).amax()
    if not bool(torch.isfinite(edge)) or float(edge) <= 0:
        raise DataError(
            "a reconstructed shape has no extent", "train the model longer, or check its run for divergence"
        )
    seen = from_weak_perspective(camera)
    shift = camera.scale * (seen.rotation[:, :2] @ center)
    return (vertices - center) / edge, WeakPerspective(
        camera.scale * edge, camera.translation + shift, camera.quaternion
    )


def pick(cameras: CameraHypotheses, index: Int[Tensor, "B"]) -> Camera:
    """Pick one hypothesis per image, in this project's convention."""
    return from_weak_perspective(cameras.pick(index))


def detached(cameras: CameraHypotheses) -> CameraHypotheses:
    """Detach the cameras from the graph."""
    return replace(cameras, **{name: value.detach() for name, value in vars(cameras).items()})
