"""Cameras of other conventions, converted at the border, both ways.

Ours (``raylift.core.types``): camera axes x right, y down, z forward; image coordinates in [-1, 1], v down.

==================  =====================  =======================  ====================================================
convention          camera axes            image                    where it is met
==================  =====================  =======================  ====================================================
PyTorch3D NDC       left, up, forward      x left, y up; shorter    PyTorch3D; row vectors: ``x_cam = x_world @ R + T``
                                           side spans [-1, 1]
OpenCV pixel        right, down, forward   pixels, v down           K, [R | t]
OpenGL / Blender    right, up, backward    -                        camera-to-world pose (transforms.json)
weak perspective    right, down, forward   [-1, 1], v down          CMR, UMR: scale, (tx, ty), quaternion (w, x, y, z)
PASCAL3D+           right, up, backward    pixels, v down           azimuth, elevation, theta, distance
==================  =====================  =======================  ====================================================
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera, Projection
from raylift.geometry.cameras import camera_centers
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix

ImageSize = tuple[int, int]
"""(height, width) in pixels."""

PASCAL3D_VIEWPORT = 3000.0
"""Pixels a unit of PASCAL3D+'s focal length: fixed by its own projection code."""


class PyTorch3dCamera(NamedTuple):
    """What ``PerspectiveCameras(in_ndc=True)`` and ``OrthographicCameras(in_ndc=True)`` take."""

    R: Float[Tensor, "B 3 3"]
    T: Float[Tensor, "B 3"]
    focal_length: Float[Tensor, "B 2"]
    principal_point: Float[Tensor, "B 2"]


class PixelCamera(NamedTuple):
    """Intrinsics in pixels, and world to camera in OpenCV axes."""

    intrinsics: Float[Tensor, "B 3 3"]
    rotation: Float[Tensor, "B 3 3"]
    translation: Float[Tensor, "B 3"]


class WeakPerspective(NamedTuple):
    """CMR's and UMR's camera: uv = scale * (R x)_xy + translation."""

    scale: Float[Tensor, "B"]
    translation: Float[Tensor, "B 2"]
    quaternion: Float[Tensor, "B 4"]


class Pascal3dViewpoint(NamedTuple):
    """PASCAL3D+'s annotation: angles in degrees, distance in object units, the principal point in pixels."""

    azimuth_deg: Float[Tensor, "B"]
    elevation_deg: Float[Tensor, "B"]
    theta_deg: Float[Tensor, "B"]
    distance: Float[Tensor, "B"]
    focal: Float[Tensor, "B"]
    principal_px: Float[Tensor, "B 2"]


def _half_sizes(image_size: ImageSize, like: Tensor) -> Tensor:
    """(W / 2, H / 2)."""
    height, width = image_size
    if min(height, width) < 1:
        raise DataError(f"an image of {height} x {width} pixels", "give its height and width in pixels")
    return torch.tensor([width / 2, height / 2], dtype=like.dtype, device=like.device)


def _axes(like: Tensor, *signs: float) -> Tensor:
    return torch.tensor(signs, dtype=like.dtype, device=like.device)


def from_pytorch3d(camera: PyTorch3dCamera, image_size: ImageSize, projection: Projection = "perspective") -> Camera:
    """A PyTorch3D camera in NDC. Its x and y point left and up; the shorter image side spans [-1, 1]."""
    flip = _axes(camera.R, -1, -1, 1)
    half = _half_sizes(image_size, camera.R)
    to_ours = half.min() / half
    return Camera(
        focal=camera.focal_length * to_ours,
        principal=-camera.principal_point * to_ours,
        rotation=flip[:, None] * camera.R.mT,
        translation=flip * camera.T,
        projection=projection,
    )


def to_pytorch3d(camera: Camera, image_size: ImageSize) -> PyTorch3dCamera:
    """The inverse of ``from_pytorch3d``; pass ``in_ndc=True`` to PyTorch3D's camera."""
    flip = _axes(camera.rotation, -1, -1, 1)
    half = _half_sizes(image_size, camera.rotation)
    to_theirs = half / half.min()
    return PyTorch3dCamera(
        R=(flip[:, None] * camera.rotation).mT,
        T=flip * camera.translation,
        focal_length=camera.focal * to_theirs,
        principal_point=-camera.principal * to_theirs,
    )


def from_pixels(camera: PixelCamera, image_size: ImageSize, first_center: float = 0.0) -> Camera:
    """An OpenCV camera in pixels.

    Args:
        camera: intrinsics without skew.
        image_size: of the image that the intrinsics belong to.
        first_center: the coordinate of the first pixel's centre: 0 for OpenCV, 0.5 for COLMAP, 1 for MATLAB.

    Raises:
        DataError: the intrinsics have a skew.
    """
    matrix = camera.intrinsics
    if bool((matrix[:, 0, 1].abs() > 1e-6 * matrix[:, 0, 0].abs()).any()):
        raise DataError("camera intrinsics with a skew", "undistort and rectify the images first")
    half = _half_sizes(image_size, matrix)
    return Camera(
        focal=torch.stack([matrix[:, 0, 0], matrix[:, 1, 1]], -1) / half,
        principal=(matrix[:, :2, 2] + 0.5 - first_center) / half - 1,
        rotation=camera.rotation,
        translation=camera.translation,
    )


def to_pixels(camera: Camera, image_size: ImageSize, first_center: float = 0.0) -> PixelCamera:
    """The inverse of ``from_pixels``.

    Raises:
        DataError: the camera is orthographic.
    """
    _require_perspective(camera, "OpenCV intrinsics")
    half = _half_sizes(image_size, camera.focal)
    intrinsics = torch.diag_embed(torch.cat([camera.focal * half, torch.ones_like(camera.focal[:, :1])], -1))
    intrinsics[:, :2, 2] = (camera.principal + 1) * half - 0.5 + first_center
    return PixelCamera(intrinsics, camera.rotation, camera.translation)


def from_opengl(
    pose: Float[Tensor, "B 4 4"],
    focal: Float[Tensor, "B 2"],
    principal: Float[Tensor, "B 2"] | None = None,
    z_up: bool = False,
) -> Camera:
    """A camera-to-world pose in OpenGL's axes (x right, y up, z backward), as Blender and NeRF files hold it.

    Args:
        pose: camera to world, rigid.
        focal: in half image sizes (1 / tan(fov / 2)).
        principal: normalised; the centre by default.
        z_up: the pose's world is Blender's, Z up and facing -Y; it is turned so that up is +Y and the front +Z.

    Raises:
        DataError: the pose scales or shears.
    """
    axes, center = pose[:, :3, :3], pose[:, :3, 3]
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
    if bool(((axes.mT @ axes - identity).abs() > 1e-3).any()):
        raise DataError("a camera pose that is not rigid", "remove scale and shear from the camera's transform")
    if z_up:
        turn = _z_up_to_y_up(pose)
        axes, center = turn @ axes, (turn @ center[..., None]).squeeze(-1)
    rotation = _axes(pose, 1, -1, -1)[:, None] * axes.mT
    return Camera(
        focal=focal,
        principal=torch.zeros_like(focal) if principal is None else principal,
        rotation=rotation,
        translation=-(rotation @ center[..., None]).squeeze(-1),
    )


def to_opengl(camera: Camera, z_up: bool = False) -> Float[Tensor, "B 4 4"]:
    """Camera-to-world poses in OpenGL's axes; focal and principal stay as they are in the camera."""
    axes = (_axes(camera.rotation, 1, -1, -1)[:, None] * camera.rotation).mT
    center = camera_centers(camera)
    if z_up:
        turn = _z_up_to_y_up(axes).T
        axes, center = turn @ axes, (turn @ center[..., None]).squeeze(-1)
    pose = torch.zeros(len(camera), 4, 4, dtype=axes.dtype, device=axes.device)
    pose[:, :3, :3], pose[:, :3, 3], pose[:, 3, 3] = axes, center, 1
    return pose


def from_weak_perspective(camera: WeakPerspective, depth_offset: float = 5.0) -> Camera:
    """CMR's and UMR's camera as a scaled orthographic one.

    Args:
        camera: scale, shift and rotation; the quaternion is normalised.
        depth_offset: the object's distance along the line of sight: any value that keeps it in front (CMR uses 5).
    """
    count = camera.scale.shape[0]
    translation = camera.translation.new_zeros(count, 3)
    translation[:, 2] = depth_offset
    return Camera(
        focal=camera.scale[:, None].expand(-1, 2),
        principal=camera.translation,
        rotation=quaternion_to_matrix(camera.quaternion),
        translation=translation,
        projection="orthographic",
    )


def to_weak_perspective(camera: Camera) -> WeakPerspective:
    """The inverse of ``from_weak_perspective``; the distance along the line of sight is not part of that camera.

    Raises:
        DataError: the camera is perspective, or its two focal lengths differ.
    """
    if camera.projection != "orthographic":
        raise DataError("a perspective camera has no weak-perspective form", "use an orthographic camera")
    if bool(((camera.focal[:, 0] - camera.focal[:, 1]).abs() > 1e-5 * camera.focal[:, 0].abs()).any()):
        raise DataError("weak perspective has one scale, this camera has two", "pad the images to squares first")
    shift = camera.principal + camera.focal * camera.translation[:, :2]
    return WeakPerspective(camera.focal[:, 0], shift, matrix_to_quaternion(camera.rotation))


def from_pascal3d(viewpoint: Pascal3dViewpoint, image_size: ImageSize, first_center: float = 1.0) -> Camera:
    """A PASCAL3D+ viewpoint, as its own projection code reads it.

    Its world is Z up with the front along -Y, which becomes ours (Y up, front +Z); the camera looks at the object's
    centre from (azimuth, elevation), and the image is then turned by theta about the principal point.

    Args:
        viewpoint: the annotation.
        image_size: of the annotated image.
        first_center: of its pixels; MATLAB counts from 1.
    """
    azimuth, elevation, theta = (torch.deg2rad(angle) for angle in viewpoint[:3])
    zero, one = torch.zeros_like(azimuth), torch.ones_like(azimuth)
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    upright = torch.stack(
        [cos_a, zero, -sin_a, sin_e * sin_a, -cos_e, sin_e * cos_a, -cos_e * sin_a, -sin_e, -cos_e * cos_a], -1
    ).reshape(-1, 3, 3)
    # Counter-clockwise with y up is clockwise with y down.
    roll = torch.stack([theta.cos(), theta.sin(), zero, -theta.sin(), theta.cos(), zero, zero, zero, one], -1)
    half = _half_sizes(image_size, azimuth)
    return Camera(
        focal=viewpoint.focal[:, None] * PASCAL3D_VIEWPORT / half,
        principal=(viewpoint.principal_px + 0.5 - first_center) / half - 1,
        rotation=roll.reshape(-1, 3, 3) @ upright,
        translation=torch.stack([zero, zero, viewpoint.distance], -1),
    )


def to_pascal3d(camera: Camera, image_size: ImageSize, first_center: float = 1.0) -> Pascal3dViewpoint:
    """The inverse of ``from_pascal3d``: azimuth in [0, 360), elevation in [-90, 90], theta in (-180, 180].

    Straight above and below azimuth and theta are the same turn: azimuth is then given as 0.

    Raises:
        DataError: the camera is orthographic, does not look at the origin, or has two focal lengths in pixels.
    """
    _require_perspective(camera, "PASCAL3D+'s viewpoint")
    distance = camera.translation[:, 2]
    if bool((camera.translation[:, :2].norm(dim=-1) > 1e-4 * distance.abs()).any()) or bool((distance <= 0).any()):
        raise DataError("PASCAL3D+ viewpoints look at the origin, this camera does not", "centre the object first")
    half = _half_sizes(image_size, camera.focal)
    focal = camera.focal * half / PASCAL3D_VIEWPORT
    if bool(((focal[:, 0] - focal[:, 1]).abs() > 1e-4 * focal[:, 0].abs()).any()):
        raise DataError("PASCAL3D+ has one focal length, this camera has two", "resample the images to square pixels")
    backward = -camera.rotation[:, 2]
    elevation = torch.atan2(backward[:, 1], backward[:, [0, 2]].norm(dim=-1))
    above = backward[:, [0, 2]].norm(dim=-1) < 1e-6
    azimuth = torch.where(above, torch.zeros_like(elevation), torch.atan2(backward[:, 0], backward[:, 2]))
    level = torch.stack([azimuth.cos(), torch.zeros_like(azimuth), -azimuth.sin()], -1)
    # The rows x and y of the rotation are the level camera's, turned by theta.
    theta = torch.atan2(-(camera.rotation[:, 1] * level).sum(-1), (camera.rotation[:, 0] * level).sum(-1))
    return Pascal3dViewpoint(
        azimuth_deg=torch.rad2deg(azimuth) % 360,
        elevation_deg=torch.rad2deg(elevation),
        theta_deg=torch.rad2deg(theta),
        distance=distance,
        focal=focal.mean(-1),
        principal_px=(camera.principal + 1) * half - 0.5 + first_center,
    )


def _z_up_to_y_up(like: Tensor) -> Tensor:
    """(x, y, z) -> (x, z, -y): what glTF exporters do with Blender's world."""
    turn = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]
    return torch.tensor(turn, dtype=like.dtype, device=like.device)


def _require_perspective(camera: Camera, form: str) -> None:
    if camera.projection != "perspective":
        raise DataError(f"{form} are for perspective cameras", "use weak perspective or PyTorch3D's orthographic form")
