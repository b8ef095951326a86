"""Projection, and camera poses: look-at, orbits. The convention is stated in ``raylift.core.types``."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera

ORBIT_DISTANCE = 2.2
"""Distance from the object's centre, in its longest edges."""
ORBIT_FOV_DEG = 47.0
"""Field of view that shows the unit cube from any side at that distance: sin(fov / 2) > sqrt(3) / 2 / distance."""
CANONICAL_AZIMUTH_DEG = 36.0
CANONICAL_ELEVATION_DEG = 25.0


def to_camera_axes(camera: Camera, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Transform world points to camera axes: x right, y down, z forward."""
    return points @ camera.rotation.mT + camera.translation[:, None]


def project(camera: Camera, points: Float[Tensor, "B N 3"]) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N"]]:
    """Image coordinates and depth of world points.

    Perspective divides by z; at |z| < 1e-8 the divisor keeps its sign and is clamped to 1e-8, so nothing becomes
    infinite. Points behind a perspective camera get a negative depth and meaningless coordinates.

    Returns:
        uv: normalised image coordinates, inside the image within [-1, 1].
        depth: z in camera axes, world units.
    """
    in_camera = to_camera_axes(camera, points)
    plane, depth = in_camera[..., :2], in_camera[..., 2]
    if camera.projection == "perspective":
        divisor = torch.where(depth.abs() < 1e-8, torch.where(depth < 0, -1e-8, 1e-8).to(depth.dtype), depth)
        plane = plane / divisor[..., None]
    return plane * camera.focal[:, None] + camera.principal[:, None], depth


def unproject(camera: Camera, uv: Float[Tensor, "B N 2"], depth: Float[Tensor, "B N"]) -> Float[Tensor, "B N 3"]:
    """The world points that project to ``uv`` at ``depth`` (z in camera axes): the inverse of ``project``."""
    plane = (uv - camera.principal[:, None]) / camera.focal[:, None]
    if camera.projection == "perspective":
        plane = plane * depth[..., None]
    in_camera = torch.cat([plane, depth[..., None]], -1)
    return (in_camera - camera.translation[:, None]) @ camera.rotation


def camera_centers(camera: Camera) -> Float[Tensor, "B 3"]:
    """Camera positions in the world frame."""
    return -(camera.translation[:, None] @ camera.rotation).squeeze(1)


def pixel_centers(
    height: int, width: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "H W 2"]:
    """(u, v) of every pixel's centre: ((2 j + 1) / W - 1, (2 i + 1) / H - 1)."""
    u = (2 * torch.arange(width, device=device, dtype=dtype) + 1) / width - 1
    v = (2 * torch.arange(height, device=device, dtype=dtype) + 1) / height - 1
    rows, columns = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([columns, rows], -1)


def look_at(
    eye: Float[Tensor, "B 3"], target: Float[Tensor, "B 3"], up: Float[Tensor, "B 3"]
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3"]]:
    """Rotation and translation of cameras at ``eye`` that look at ``target`` with ``up`` towards the image's top.

    Raises:
        DataError: eye and target coincide, or up is along the line of sight.
    """
    forward = target - eye
    sideways = torch.linalg.cross(forward, up)
    lengths = forward.norm(dim=-1)
    if bool((lengths < 1e-9).any()):
        raise DataError("a camera is at its own target", "move the eye away from the target")
    if bool((sideways.norm(dim=-1) < 1e-6 * lengths * up.norm(dim=-1)).any()) or bool((up.norm(dim=-1) == 0).any()):
        raise DataError("a camera's up direction is along its line of sight", "use another up, such as +Z or -Z")
    z = forward / lengths[:, None]
    x = sideways / sideways.norm(dim=-1, keepdim=True)
    rotation = torch.stack([x, torch.linalg.cross(z, x), z], -2)
    return rotation, -(rotation @ eye[..., None]).squeeze(-1)


def focal_of_fov(fov_deg: float) -> float:
    """Focal length in half image sizes of a full opening angle: 1 / tan(fov / 2).

    Raises:
        ConfigError: the angle is not between 0 and 180.
    """
    if not 0 < fov_deg < 180:
        raise ConfigError(f"fov_deg is {fov_deg}", "use an opening angle between 0 and 180 degrees")
    return 1 / math.tan(math.radians(fov_deg) / 2)


def orbit_rotations(azimuths_deg: Float[Tensor, "B"], elevations_deg: Float[Tensor, "B"]) -> Float[Tensor, "B 3 3"]:
    """World-to-camera rotations of upright cameras that look at the origin from any side, float64; see ``orbit``.

    Written in closed form rather than by ``look_at``, so that it also works straight above (elevation 90) and below.
    """
    azimuth, elevation = torch.deg2rad(azimuths_deg.double()), torch.deg2rad(elevations_deg.double())
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    right = torch.stack([cos_a, torch.zeros_like(cos_a), -sin_a], -1)
    down = torch.stack([sin_e * sin_a, -cos_e, sin_e * cos_a], -1)
    forward = -torch.stack([cos_e * sin_a, sin_e, cos_e * cos_a], -1)
    return torch.stack([right, down, forward], -2)


def orbit_poses(
    azimuths_deg: Float[Tensor, "B"],
    elevations_deg: Float[Tensor, "B"],
    distance: float = ORBIT_DISTANCE,
    fov_deg: float = ORBIT_FOV_DEG,
) -> Camera:
    """Perspective cameras on a sphere around the origin, upright, looking at it; see ``orbit``.

    Raises:
        ConfigError: the distance is not positive, or the field of view impossible.
    """
    if not distance > 0:
        raise ConfigError(f"distance is {distance}", "use a distance above 0")
    rotation = orbit_rotations(azimuths_deg, elevations_deg)
    count = rotation.shape[0]
    translation = torch.zeros(count, 3)
    translation[:, 2] = distance
    return Camera(
        focal=torch.full((count, 2), focal_of_fov(fov_deg)),
        principal=torch.zeros(count, 2),
        rotation=rotation.float(),
        translation=translation,
    )


def orbit(
    azimuth_deg: float, elevation_deg: float, distance: float = ORBIT_DISTANCE, fov_deg: float = ORBIT_FOV_DEG
) -> Camera:
    """One camera on a sphere around the origin.

    Azimuth 0 sees the object's front from +Z, 90 is at +X; elevation 90 is straight above.
    """
    return orbit_poses(torch.tensor([float(azimuth_deg)]), torch.tensor([float(elevation_deg)]), distance, fov_deg)


def orbit_views(
    num_views: int,
    elevation_range_deg: tuple[float, float] = (5.0, 60.0),
    distance: float = ORBIT_DISTANCE,
    fov_deg: float = ORBIT_FOV_DEG,
    start_azimuth_deg: float = 0.0,
) -> Camera:
    """Views at equal steps of azimuth, with elevations spread over a range (implicit paper, section 4.1).

    The paper's 30 views are 12 degrees apart on the upper hemisphere. View i is at azimuth 360 i / num_views; its
    elevation takes the i-th value of the base-2 radical inverse (van der Corput), uniform in the sine of the elevation,
    so that any run of neighbouring views covers low and high and the views cover the band of the sphere evenly.

    Raises:
        ConfigError: no views, or a range that is empty or leaves [-90, 90].
    """
    shares = np.array([radical_inverse(index) for index in range(num_views)])
    azimuths = start_azimuth_deg + 360.0 * np.arange(num_views) / max(num_views, 1)
    return _views_in_band(azimuths, shares, elevation_range_deg, distance, fov_deg)


def random_orbit_views(
    num_views: int,
    rng: np.random.Generator,
    elevation_range_deg: tuple[float, float] = (5.0, 60.0),
    distance: float = ORBIT_DISTANCE,
    fov_deg: float = ORBIT_FOV_DEG,
) -> Camera:
    """Draw views from all azimuths and a range of elevations: no two draws share a view.

    Stratified: azimuths are 360 (i + jitter) / num_views after one random turn, so they are in order around the object,
        and each view's azimuth is uniform in [0, 360). Elevations take one value from each of num_views equal parts of
        the
    band's area (uniform in the sine), in random order.

    Args:
        num_views: number of views.
        rng: generator of the draws, keyed by the object (law 3).

    Raises:
        ConfigError: no views, or a range that is empty or leaves [-90, 90].
    """
    count = max(num_views, 0)
    azimuths = 360.0 * (rng.random() + (np.arange(count) + rng.random(count)) / max(count, 1))
    shares = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    return _views_in_band(azimuths % 360.0, shares, elevation_range_deg, distance, fov_deg)


def _views_in_band(
    azimuths_deg: np.ndarray,
    shares: np.ndarray,
    elevation_range_deg: tuple[float, float],
    distance: float,
    fov_deg: float,
) -> Camera:
    """Views at these azimuths, and at these fractions, in [0, 1], of the area of a band of elevations."""
    low, high = elevation_range_deg
    if len(shares) < 1:
        raise ConfigError(f"num_views is {len(shares)}", "use at least 1")
    if not -90 <= low <= high <= 90:
        raise ConfigError(f"elevation_range_deg is {elevation_range_deg}", "use -90 <= low <= high <= 90")
    sines = math.sin(math.radians(low)) + shares * (math.sin(math.radians(high)) - math.sin(math.radians(low)))
    elevations = np.degrees(np.arcsin(sines.clip(-1, 1)))
    return orbit_poses(torch.from_numpy(azimuths_deg), torch.from_numpy(elevations), distance, fov_deg)


def radical_inverse(index: int) -> float:
    """The van der Corput sequence in base 2, in [0, 1): 0, 1/2, 1/4, 3/4, 1/8, ..."""
    value, share = 0.0, 0.5
    while index:
        value += share * (index & 1)
        index >>= 1
        share /= 2
    return value


def canonical_camera() -> Camera:
    """The assumed camera of an image without one: a three-quarter view from the right, slightly above."""
    return orbit(CANONICAL_AZIMUTH_DEG, CANONICAL_ELEVATION_DEG)


def fibonacci_directions(count: int) -> Float[Tensor, "B 3"]:
    """Unit vectors spread evenly over the whole sphere along the golden spiral."""
    index = torch.arange(count, dtype=torch.float64)
    y = 1 - (2 * index + 1) / count
    radius = (1 - y * y).clamp(min=0).sqrt()
    angle = index * math.pi * (3 - math.sqrt(5))
    return torch.stack([radius * angle.cos(), y, radius * angle.sin()], -1)


def orthographic_views(directions: Float[Tensor, "B 3"], half_width: float, distance: float = 2.0) -> Camera:
    """Orthographic cameras that look at the origin from ``directions``, showing [-half_width, half_width] each way.

    Args:
        directions: unit vectors from the origin to the cameras.
        half_width: half width of the image, in world units.
        distance: distance of the camera's plane z = 0 from the origin.
    """
    directions = directions.double()
    up = torch.where(
        directions[:, 1:2].abs() > 0.99,
        torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
        torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64),
    )
    rotation, translation = look_at(directions * distance, torch.zeros_like(directions), up)
    count = directions.shape[0]
    return Camera(
        focal=torch.full((count, 2), 1 / half_width),
        principal=torch.zeros(count, 2),
        rotation=rotation.float(),
        translation=translation.float(),
        projection="orthographic",
    )


def pixel_rays(camera: Camera, height: int, width: int) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W 3"]]:
    """Origin and unit direction, in the world, of the ray through every pixel's centre.

    Perspective rays start at the camera's centre, orthographic ones on its plane z = 0.
    """
    count = len(camera)
    uv = pixel_centers(height, width, camera.focal.device, camera.focal.dtype).reshape(1, -1, 2).expand(count, -1, -1)
    ones = torch.ones_like(uv[..., 0])
    if camera.projection == "perspective":
        origins = camera_centers(camera)[:, None].expand(-1, height * width, -1)
        directions = torch.nn.functional.normalize(unproject(camera, uv, ones) - origins, dim=-1)
    else:
        origins = unproject(camera, uv, 0 * ones)
        directions = camera.rotation[:, None, 2].expand(-1, height * width, -1)
    shape = (count, height, width, 3)
    return origins.reshape(shape), directions.reshape(shape)
