"""Batches in closed form: coloured balls, with everything of a sample that needs no data set.

Ball i has a radius, a place and a tint of its own, which follow from (seed, i). Its colour turns with the direction
from its centre, so that a ball that is turned looks different:

    rgb(x) = tint + 0.2 (x - centre) / |x - centre|
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.captions import encode_caption
from raylift.core.errors import ConfigError
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.generators import keyed_uniforms, stable_hash, torch_generator
from raylift.core.types import GRID_HALF_EXTENT, Batch, Camera, SampleRequest, VoxelRequest
from raylift.data.shapes.schema import TRUNCATION
from raylift.data.store.stored_view import mask_distance, object_colors
from raylift.geometry.cameras import orbit_poses, orbit_rotations, pixel_rays, to_camera_axes
from raylift.geometry.voxels import grid_points

RADII = (0.2, 0.35)
SHIFT = 0.1
FOCAL_OF_CROPS = 2.2
"""The largest ball fills three quarters of an image that is cropped."""
EXAMPLE_RESOLUTION = 32
CAPTIONS = ("a striped ball", "a small ball made out of glass", "", "круглый мяч")
"""Of samples 0, 1, 2, ..., over and over: one without a caption, one in another alphabet, equal ones from the fifth."""
CATEGORIES = ("ball", "glass ball", "marble")
"""Of samples 0, 1, 2, ..., over and over; every fifth sample is of none of them."""
HIDDEN_FROM = 0.0
"""If the amodal mask is requested, a board hides what is to the left of this u in every second image."""


@dataclass(frozen=True)
class Balls:
    """Coloured balls in the world frame.

    Attributes:
        centers: world units.
        radii: world units, in ``RADII``.
        tints: RGB in [0.2, 0.8].
    """

    centers: Float[Tensor, "B 3"]
    radii: Float[Tensor, "B"]
    tints: Float[Tensor, "B 3"]

    @staticmethod
    def drawn(keys: Tensor, seed: int, shift: float = SHIFT) -> Balls:
        """One a key; centres lie within ``shift`` of the origin along each axis."""

        def uniform(low: float, high: float, what: str) -> Tensor:
            return low + (high - low) * keyed_uniforms(keys, seed, 0, what)

        return Balls(
            torch.stack([uniform(-shift, shift, f"center {axis}") for axis in "xyz"], 1),
            uniform(*RADII, "radius"),
            torch.stack([uniform(0.2, 0.8, f"tint {channel}") for channel in "rgb"], 1),
        )

    def distances(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        """Signed, negative inside, world units."""
        distances: Tensor = torch.linalg.vector_norm(points - self.centers[:, None], dim=-1) - self.radii[:, None]
        return distances

    def colors(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """RGB in [0, 1]."""
        directions = torch.nn.functional.normalize(points - self.centers[:, None], dim=-1)
        colors: Tensor = self.tints[:, None] + 0.2 * directions
        return colors.clamp(0, 1)

    def surface(self, directions: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """The points on the surface in these directions, of any length but 0."""
        return self.centers[:, None] + self.radii[:, None, None] * torch.nn.functional.normalize(directions, dim=-1)

    def seen(self, camera: Camera, px: int) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P 3"]]:
        """By the rays through the centres of px * px pixels: coverage in {0, 1}, and where each enters the ball.

        A ray that misses has the point of it that is the nearest to the centre.
        """
        origins, directions = (part.flatten(1, 2) for part in pixel_rays(camera, px, px))
        to_center = self.centers[:, None] - origins
        along = (to_center * directions).sum(-1)
        depth = self.radii[:, None].square() - (to_center.square().sum(-1) - along.square())
        entered = origins + (along - depth.clamp(min=0).sqrt())[..., None] * directions
        return (depth > 0).float(), entered


def synthetic_batch(request: SampleRequest, size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """The global batch that a model asks for, of coloured balls: the same for the same arguments, in every process.

    As the data pipeline gives them, whole images are perspective views of shapes, with their camera and depth; crops
    are orthographic views of an image collection, not mirrored, whose camera only ``request.truth`` and
    ``request.supervised_camera`` give.

    With ``background``, balls are in front of a ramp of two colours of their own. With ``amodal``, a dark board hides
    the left half of every second image, and ``mask`` is what is left to see of the ball.

    Args:
        request: what the samples must carry.
        size: samples, at least 1.
        seed: other balls, seen from elsewhere, with other points.
        dtype: of all fields but ``image_index``, ``category`` and ``caption``, and of the camera.

    Returns:
        Fields with the names and shapes of ``core.types.Batch``; ``sdf`` is cut off at 0.1, ``image_index`` counts from
        0.

    Raises:
        ConfigError: the request has parts or keypoints, which a ball does not.
    """
    unknown = [name for name in ("parts", "keypoints") if getattr(request, name)]
    if unknown:
        raise ConfigError(
            f"a synthetic batch has no {' or '.join(unknown)}", "give a batch of the model's own (ModelLaws.batch)"
        )
    ids = tuple(f"ball-{index}#0" for index in range(size))
    keys = torch.tensor([stable_hash(name) for name in ids])
    is_crop = request.crop is not None
    balls = Balls.drawn(keys, seed, 0.0 if is_crop else SHIFT)
    camera = _orthographic(size, seed) if is_crop else _orbiting(size, seed)
    fields = _pixel_fields(request, balls, camera, keys, seed)
    if request.num_points:
        points = _uniform_points(ids, request.num_points, seed, "points")
        distances = balls.distances(points).clamp(-TRUNCATION, TRUNCATION)
        fields |= {"points": points, "sdf": distances, "color": balls.colors(points)}
    if request.num_iou_points:
        points = _uniform_points(ids, request.num_iou_points, seed, "iou")
        fields |= {"iou_points": points, "iou_inside": (balls.distances(points) < 0).float()}
    if request.num_told_points:
        told = balls.surface(_per_sample(ids, request.num_told_points, seed, "told", torch.randn))
        fields |= {"told_points": told, "told_colors": balls.colors(told)}
    if request.voxels is not None:
        fields["voxels"] = _voxels(request.voxels, balls, camera)
    if is_crop:
        fields["mirrored"] = torch.zeros(size)
    fields = {name: value.to(dtype).contiguous() for name, value in fields.items()}
    if request.image_index:
        fields["image_index"] = torch.arange(size)
    if request.category:
        fields["category"] = categories_of(size)
    if request.caption:
        texts = [CAPTIONS[index % len(CAPTIONS)] for index in range(size)]
        fields["caption"] = torch.from_numpy(np.stack([encode_caption(text) for text in texts]))
    is_blind = is_crop and not (request.truth or request.supervised_camera)
    return Batch(ids, keys, fields, None if is_blind else camera.to("cpu", dtype))


def categories_of(size: int) -> Int[Tensor, "B"]:
    """The category of samples 0, 1, 2, ...: an index into ``CATEGORIES``, or -1."""
    index = torch.arange(size)
    return torch.where(index % 5 == 4, -1, index % len(CATEGORIES))


def synthetic_examples(request: ExampleRequest, batch: Batch, seed: int = 0) -> Examples:
    """The balls of a synthetic batch as the training objects that a model keeps; each is a body of its own.

    Args:
        request: how much of each; of the batch's balls at most ``num_objects`` are kept.
        batch: of ``synthetic_batch`` by the same seed, of whole images.
    """
    kept = min(len(batch), request.num_objects)
    balls = Balls.drawn(batch.keys[:kept], seed)
    cells = torch.from_numpy(grid_points(EXAMPLE_RESOLUTION)).expand(kept, -1, 3)
    views = [
        balls.seen(_orbiting(kept, seed, 40.0 * view), request.silhouette_px)[0] for view in range(request.num_views)
    ]
    return Examples(
        sdf=balls.distances(cells).unflatten(1, (EXAMPLE_RESOLUTION,) * 3),
        points=balls.surface(_per_sample(batch.ids[:kept], request.num_points, seed, "examples", torch.randn)),
        silhouettes=torch.stack(views, 1).flatten(0, 1).unflatten(1, (request.silhouette_px,) * 2),
        owners=torch.arange(kept).repeat_interleave(request.num_views),
        bodies=torch.arange(kept),
        samples={name.partition("#")[0]: index for index, name in enumerate(batch.ids)},
        ids=tuple(name.partition("#")[0] for name in batch.ids[:kept]),
        categories={
            name.partition("#")[0]: int(index)
            for name, index in zip(batch.ids, categories_of(len(batch)).tolist(), strict=True)
        },
    )


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """Samples of a batch, in the order asked for; one may come twice."""
    picked = torch.tensor(rows, dtype=torch.int64)
    return replace(
        batch,
        ids=tuple(batch.ids[row] for row in rows),
        keys=batch.keys[picked],
        fields={name: value[picked] for name, value in batch.fields.items()},
        camera=None if batch.camera is None else batch.camera[picked],
    )


def _pixel_fields(request: SampleRequest, balls: Balls, camera: Camera, keys: Tensor, seed: int) -> dict[str, Tensor]:
    px = request.image_px
    whole, entered = balls.seen(camera, px)
    paint = balls.colors(entered)
    board = _board(len(whole), px) if request.amodal else torch.zeros_like(whole)
    covered = whole * (1 - board)
    around = torch.ones(())
    if request.background:
        around = torch.where(board[..., None] > 0, torch.tensor(0.1), _ramps(keys, seed, px))
    colors = torch.where(covered[..., None] > 0, paint, around)

    fields = {"image": colors.mT.unflatten(2, (px, px)), "mask": covered.reshape(-1, 1, px, px)}
    if request.amodal:
        fields["amodal"] = whole.reshape(-1, 1, px, px)
    if request.crop is None or request.depth:
        depth = to_camera_axes(camera, entered)[..., 2]
        fields["depth"] = torch.where(covered > 0, depth, 0.0).reshape(-1, 1, px, px)
    alpha = (255 * fields["mask"][:, 0]).byte().numpy()
    if request.mask_distance:
        fields["mask_distance"] = torch.from_numpy(np.stack([mask_distance(one) for one in alpha]))
    if request.object_colors:
        rgb = (255 * fields["image"]).byte().permute(0, 2, 3, 1).numpy()
        pictures = np.concatenate([rgb, alpha[..., None]], axis=-1)
        fields["object_colors"] = torch.from_numpy(np.stack([object_colors(one) for one in pictures])).float() / 255
    return fields


def _board(size: int, px: int) -> Tensor:
    """Where the board hides the image, in {0, 1}: [B, P]."""
    left = ((2 * torch.arange(px) + 1) / px - 1 < HIDDEN_FROM).float().expand(px, px).flatten()
    return left * (torch.arange(size) % 2)[:, None]


def _ramps(keys: Tensor, seed: int, px: int) -> Tensor:
    """A background per sample, [B, P, 3], from one colour at the top to another at the bottom."""
    ends = [[keyed_uniforms(keys, seed, 0, f"ramp {end} {channel}") for channel in "rgb"] for end in ("top", "bottom")]
    top, bottom = (torch.stack(end, 1)[:, None] for end in ends)
    down = ((torch.arange(px) + 0.5) / px).repeat_interleave(px)[None, :, None]
    return top + (bottom - top) * down


def _voxels(request: VoxelRequest, balls: Balls, camera: Camera) -> Tensor:
    """As of endlessly many points: a cell's share of the surface is that of the cells within half a diagonal of it."""
    size, side = len(balls.radii), request.resolution
    cells = torch.from_numpy(grid_points(side)).expand(size, -1, 3)
    distances = balls.distances(cells)
    if request.source == "gt_sdf":
        grid = (distances.clamp(-TRUNCATION, TRUNCATION) / TRUNCATION)[:, None]
    elif request.source == "gt_occupancy":
        grid = (distances < 0).float()[:, None]
    else:
        shell = (distances.abs() < GRID_HALF_EXTENT / side * 3**0.5).float()
        if request.source == "visible":
            towards = (balls.centers[:, None] - cells) @ camera.rotation[:, 2, :, None]
            shell = shell * (towards[..., 0] > 0).float()
        grid = shell[:, None]
        if request.num_channels == 4:
            density = shell / shell.sum(1, keepdim=True).clamp(min=1)
            grid = torch.cat([density[:, None], shell[:, None] * balls.colors(cells).mT], 1)
    return grid.reshape(size, -1, side, side, side)


def _orbiting(size: int, seed: int, turned_deg: float = 0.0) -> Camera:
    """Upright cameras around the origin, each from an azimuth and elevation of its own."""
    azimuths, elevations = _angles(size, seed)
    return orbit_poses(azimuths + turned_deg, elevations)


def _orthographic(size: int, seed: int) -> Camera:
    return Camera(
        torch.full((size, 2), FOCAL_OF_CROPS),
        torch.zeros(size, 2),
        orbit_rotations(*_angles(size, seed)).float(),
        torch.tensor([0.0, 0.0, 5.0]).expand(size, 3),
        "orthographic",
    )


def _angles(size: int, seed: int) -> tuple[Tensor, Tensor]:
    index = torch.arange(size)
    return 47.0 * index + 10.0 * seed, 5.0 + (13.0 * index) % 40


def _uniform_points(ids: tuple[str, ...], count: int, seed: int, purpose: str) -> Tensor:
    return GRID_HALF_EXTENT * (2 * _per_sample(ids, count, seed, purpose, torch.rand) - 1)


def _per_sample(ids: tuple[str, ...], count: int, seed: int, purpose: str, draw: Callable[..., Tensor]) -> Tensor:
    """[B, count, 3], each sample's keyed by its name."""
    return torch.stack([draw(count, 3, generator=torch_generator(seed, name, purpose)) for name in ids])
