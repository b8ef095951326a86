"""Data types: cameras, meshes, fields, reconstructions, batches, and what a model requests from the data.

The one coordinate convention
-----------------------------
World: right-handed, **Y up**; an object faces **+Z**, and is centred so that its bounding box is centred on the origin
with its longest edge equal to 1 (so it fits in [-0.5, 0.5]^3).

Camera: OpenCV axes (x right, y down, z forward): ``x_camera = rotation @ x_world + translation``; depth is z, positive
in front of the camera.

Image: normalised coordinates (u, v) in [-1, 1]^2, u to the right, v **down**, (-1, -1) the outer corner of the top-left
pixel; the centre of pixel (row i, column j) is ``((2 j + 1) / W - 1, (2 i + 1) / H - 1)``. These are what
``torch.nn.functional.grid_sample(align_corners=False)`` takes.

Every other convention (PyTorch3D NDC, OpenCV pixels, OpenGL, weak perspective, PASCAL3D+) is converted at the boundary,
in ``raylift.geometry.cameras``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.device_copies import upload, upload_known
from raylift.core.errors import ConfigError, DataError

GRID_HALF_EXTENT = 0.55
"""Conditioning grids and ground-truth grids cover [-0.55, 0.55]^3: the unit cube padded by 0.1 (OccNet)."""

Projection = Literal["perspective", "orthographic"]


@dataclass(frozen=True)
class Camera:
    """A batch of B cameras.

    Perspective: ``u = focal_x * x / z + principal_x`` (and v alike, with x, y, z in camera axes). Orthographic (scaled:
    the weak perspective of CMR/UMR): ``u = focal_x * x + principal_x``.

    Attributes:
        focal: (fx, fy) in half image sizes (normalised coordinates).
        principal: (cx, cy) in normalised coordinates; 0 is the image centre.
        rotation: world to camera, orthonormal, determinant +1.
        translation: world to camera, in world units.
        projection: "perspective" or "orthographic", the same for the whole batch.
    """

    focal: Float[Tensor, "B 2"]
    principal: Float[Tensor, "B 2"]
    rotation: Float[Tensor, "B 3 3"]
    translation: Float[Tensor, "B 3"]
    projection: Projection = "perspective"

    def __len__(self) -> int:
        return int(self.focal.shape[0])

    def __getitem__(self, index: int | slice | Tensor) -> Camera:
        """Select cameras; an int keeps the batch axis, with B = 1."""
        picked = slice(index, index + 1 or None) if isinstance(index, int) else index
        return replace(
            self,
            focal=self.focal[picked],
            principal=self.principal[picked],
            rotation=self.rotation[picked],
            translation=self.translation[picked],
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Camera:
        """Move (and cast) all four tensors."""
        return replace(
            self,
            focal=self.focal.to(device, dtype),
            principal=self.principal.to(device, dtype),
            rotation=self.rotation.to(device, dtype),
            translation=self.translation.to(device, dtype),
        )

    def uploaded(self, device: torch.device | str) -> Camera:
        """The cameras on a device, without waiting for it (``core.device_copies``)."""
        return replace(
            self,
            focal=upload(self.focal, device),
            principal=upload(self.principal, device),
            rotation=upload(self.rotation, device),
            translation=upload(self.translation, device),
        )

    @staticmethod
    def stack(cameras: list[Camera]) -> Camera:
        """Concatenate along the batch axis; all must share one projection."""
        kinds = {camera.projection for camera in cameras}
        if len(kinds) != 1:
            raise DataError(f"cannot batch cameras of projections {sorted(kinds)}", "use one projection per data set")
        return Camera(
            torch.cat([camera.focal for camera in cameras]),
            torch.cat([camera.principal for camera in cameras]),
            torch.cat([camera.rotation for camera in cameras]),
            torch.cat([camera.translation for camera in cameras]),
            cameras[0].projection,
        )


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh, with appearance per vertex, or by a texture image, or none.

    Attributes:
        vertices: positions in the world frame above.
        faces: vertex indices, counter-clockwise seen from outside.
        vertex_colors: RGB in [0, 1].
        corner_uvs: texture coordinates of each face's corners, OpenGL's: (0, 0) is the texture's bottom-left.
        texture: RGB in [0, 1], first row on top.
    """

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    vertex_colors: Float[Tensor, "V 3"] | None = None
    corner_uvs: Float[Tensor, "F 3 2"] | None = None
    texture: Float[Tensor, "H W 3"] | None = None

    @property
    def is_empty(self) -> bool:
        return self.faces.shape[0] == 0

    def to(self, device: torch.device | str) -> Mesh:
        """Move every tensor."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


FieldQuery = Callable[[Float[Tensor, "N 3"]], tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]]


@dataclass(frozen=True)
class Field:
    """An implicit shape with colour: query(points) gives (values, rgb).

    Attributes:
        query: maps world points to a scalar that is **negative inside** (a signed distance, or the level minus an
            occupancy) and to RGB in [0, 1]. It accepts any number of points: callers are responsible for chunking. It
            must not build a graph.
        half_extent: the surface is within [-half_extent, half_extent]^3.
        device: device that points must be on.
        values: the scalar only, if that is cheaper than with colours: most of an extraction needs no more.
    """

    query: FieldQuery
    half_extent: float = GRID_HALF_EXTENT
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    values: Callable[[Float[Tensor, "N 3"]], Float[Tensor, "N"]] | None = None

    def values_at(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
        """The scalar of ``query``."""
        return self.query(points)[0] if self.values is None else self.values(points)


@dataclass(frozen=True)
class Reconstruction:
    """A model's output for one image: a shape with its appearance, and the camera of the image (B = 1)."""

    id: str
    shape: Mesh | Field
    camera: Camera


@dataclass(frozen=True)
class Batch:
    """One rank's part of one global batch.

    Attributes:
        ids: a stable name per sample, ``object_id#view``.
        keys: 63-bit hashes of the ids, which key random draws (law 3).
        fields: tensors by name with the batch first. The names used so far, with shapes:

            ====================  =====================  ==========================================================
            image                 [B, 3, H, W]           RGB in [0, 1], composited on white, or with its background
            mask                  [B, 1, H, W]           coverage of what is visible of the object, in [0, 1]
            depth                 [B, 1, H, W]           z in world units, 0 where nothing was hit (rendered views)
            points                [B, N, 3]              supervised points, world frame
            sdf                   [B, N]                 truncated signed distance, negative inside, world units
            color                 [B, N, 3]              RGB in [0, 1] at those points
            voxels                [B, C, R, R, R]        conditioning grid over [-0.55, 0.55]^3, indexed [x, y, z]
            told_points           [B, K, 3]              surface points that condition a network, world frame
            told_colors           [B, K, 3]              their RGB in [0, 1]
            iou_points            [B, M, 3]              uniform points in [-0.55, 0.55]^3 (evaluation only)
            iou_inside            [B, M]                 1 inside the true shape, 0 outside (evaluation only)
            mask_distance         [B, 1, H, W]           distance to the silhouette in half image sizes, 0 inside it
            object_colors         [B, 3, H, W]           RGB in [0, 1]; outside the object, that of its nearest pixel
            keypoints             [B, K, 3]              u, v in normalised image coordinates, and 1 where visible
            parts                 [B, P, H, W]           probability of each part; part 0 is the background
            mirrored              [B]                    1 where the crop was mirrored
            image_index           [B] int64              index of the image in its split: 0, 1, 2, ...
            caption               [B, 256] uint8         UTF-8 text, zero-padded; zeros without one (``core.captions``)
            amodal                [B, 1, H, W]           coverage of the whole object, hidden parts included, in [0, 1]
            category              [B] int64              index into ``DatasetInfo.categories``; -1: none of them
            ====================  =====================  ==========================================================

        camera: the camera of each sample, if known. For image collections it is ground truth: in evaluation batches for
            scoring, and in training batches only if the model requests it as a target.
    """

    ids: tuple[str, ...]
    keys: Int[Tensor, "B"]
    fields: Mapping[str, Tensor]
    camera: Camera | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, name: str) -> Tensor:
        """The field of that name.

        Raises:
            DataError: the batch does not carry it.
        """
        try:
            return self.fields[name]
        except KeyError:
            raise DataError(
                f"this batch has no field {name!r} (it has {sorted(self.fields)})",
                "the data set lacks what the recipe needs: prepare it again, or change the recipe's conditioning",
            ) from None

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def to(self, device: torch.device | str) -> Batch:
        """Move keys, fields and camera; to CUDA without waiting for it, and the host still knows keys and integers."""
        return replace(
            self,
            keys=upload_known(self.keys, device),
            fields={
                name: upload(value, device) if value.is_floating_point() else upload_known(value, device)
                for name, value in self.fields.items()
            },
            camera=None if self.camera is None else self.camera.uploaded(device),
        )

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch."""
        camera = self.camera
        poses = [] if camera is None else [camera.focal, camera.principal, camera.rotation, camera.translation]
        return [self.keys, *self.fields.values(), *poses]

    def select(self, picked: slice) -> Batch:
        """A slice of the samples in this batch."""
        return Batch(
            ids=self.ids[picked],
            keys=self.keys[picked],
            fields={name: value[picked] for name, value in self.fields.items()},
            camera=None if self.camera is None else self.camera[picked],
        )


VoxelSource = Literal["visible", "surface", "gt_occupancy", "gt_sdf"]
VoxelEncoding = Literal["occupancy", "color_density"]


@dataclass(frozen=True)
class VoxelRequest:
    """A conditioning grid that the data pipeline builds for each sample (implicit paper, section 3.3).

    Attributes:
        source: "visible" (points reprojected from this view's depth), "surface" (points of the cloud merged from all
            views), "gt_occupancy" or "gt_sdf" (grids of the true shape).
        encoding: for point sources, "occupancy" (C = 1) or "color_density" (C = 4: the fraction of all points that are
            in the voxel, then their mean RGB). Grids of the true shape have C = 1.
        resolution: voxels per edge.
        num_points: number of points kept; for "visible", the maximum.
    """

    source: VoxelSource
    encoding: VoxelEncoding = "color_density"
    resolution: int = 32
    num_points: int = 15_000

    @property
    def num_channels(self) -> int:
        return 4 if self.encoding == "color_density" and self.source in ("visible", "surface") else 1


@dataclass(frozen=True)
class CropRequest:
    """How each sample is cropped to a square around its object's box; draws are keyed by (seed, epoch, id).

    Attributes:
        padding: distance that each edge of the box moves outwards, as a fraction of the box's size.
        jitter: half-width of a further uniform move, drawn from [-jitter, jitter], in the same unit.
        mirror: whether half of the samples are mirrored left to right, with their keypoints and parts.
    """

    padding: float = 0.05
    jitter: float = 0.05
    mirror: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0 or self.jitter < 0 or self.jitter >= 0.5 + self.padding:
            raise ConfigError(
                f"invalid crop: padding {self.padding}, jitter {self.jitter}",
                "use padding >= 0 and 0 <= jitter < 0.5 + padding",
            )

    @property
    def is_drawn(self) -> bool:
        """Whether samples of one image differ."""
        return self.jitter > 0 or self.mirror


@dataclass(frozen=True)
class SampleRequest:
    """What a model requests from the data pipeline for each batch.

    Attributes:
        image_px: side in pixels to which images, masks and depths are resized.
        num_points: supervised points per sample; 0 omits ``points``, ``sdf`` and ``color``.
        voxels: the conditioning grid; None omits it.
        num_iou_points: stored uniform points per sample with their occupancy, for evaluation; 0 omits them.
        num_told_points: points per sample, with colours, drawn from the cloud merged over all views; 0 omits them. If
            ``voxels`` also uses surface points, both use the same draw and must have the same number.
        crop: crop around the object; None keeps the whole stored image.
        mask_distance: the distance to the silhouette at every pixel.
        depth: whether a non-empty depth map is required; otherwise samples have one if it is known.
        object_colors: the image with the object's colours spread over its background.
        keypoints: the data set's keypoints.
        parts: the data set's part maps.
        image_index: the index of each sample's image in its split, for state kept per image.
        caption: the caption of each sample's image or object; zeros if it has none.
        background: the image as it was taken, rather than its object on white; cut-outs and renderings, which have no
            background, stay on white.
        amodal: the coverage of the whole object, with the parts that something hides.
        category: the index of each sample's category.
        supervised_camera: the camera as a training target; every sample must have one.
        truth: the camera, for image collections with known cameras. For scoring; a training stream refuses it.
    """

    image_px: int
    num_points: int = 0
    voxels: VoxelRequest | None = None
    num_iou_points: int = 0
    num_told_points: int = 0
    crop: CropRequest | None = None
    mask_distance: bool = False
    depth: bool = False
    object_colors: bool = False
    keypoints: bool = False
    parts: bool = False
    image_index: bool = False
    caption: bool = False
    background: bool = False
    amodal: bool = False
    category: bool = False
    supervised_camera: bool = False
    truth: bool = False

    def describe(self) -> str:
        """What an image to reconstruct needs, in words."""
        if self.depth or (self.voxels is not None and self.voxels.source == "visible"):
            return "image, camera and depth"
        if self.background and self.voxels is None:
            return "photograph, or cut-out with alpha; no camera"
        if self.num_told_points:
            return "image, camera and surface points, which only a prepared data set has"
        if self.voxels is None:
            return "image and camera (canonical if missing)"
        return f"image, camera and {self.voxels.source} voxels, which only a prepared data set has"

    def without_draws(self) -> SampleRequest:
        """The same for evaluation: cropped with padding alone, neither jittered nor mirrored."""
        if self.crop is None:
            return self
        return replace(self, crop=replace(self.crop, jitter=0.0, mirror=False))
