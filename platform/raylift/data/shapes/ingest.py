"""Everything that a data set stores per object, computed from its scene (implicit paper, section 4.1)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.spatial import cKDTree

from raylift.core.errors import DataError
from raylift.core.generators import numpy_generator
from raylift.core.types import GRID_HALF_EXTENT, Camera, Field
from raylift.data.shapes.bodies import body_measures
from raylift.data.shapes.captions import dominant_material, make_caption
from raylift.data.shapes.clouds import merged_cloud
from raylift.data.shapes.config import ShapesConfig
from raylift.data.shapes.normalise import normalise_scene
from raylift.data.shapes.orientation import drawn_rotation, rotate_scene
from raylift.data.shapes.schema import DEPTH_STEP, GRID_RESOLUTION, TRUNCATION, object_columns, sample_columns
from raylift.data.sources.base import LoadedScene, SourceItem
from raylift.geometry.cameras import camera_centers, orbit_views, random_orbit_views
from raylift.geometry.iso_surface import extract
from raylift.geometry.sampling import sample_surface
from raylift.geometry.signed_distance import THICKNESS, ScanDistance
from raylift.geometry.voxels import grid_points
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import Rendering, render
from raylift.rendering.scene import Scene
from raylift.rendering.virtual_scan import scan

COLOR_NEIGHBOURS = 2
"""K: a point's colour is the mean over this many nearest cloud points (implicit paper, section 4.1)."""


@dataclass(frozen=True)
class ObjectPayload:
    """Rows of the two tables.

    Attributes:
        row: row of the objects table: texts and packed arrays by column.
        views: rows of the views table.
        notes: imperfections of the object.
        body: moments of its body; see ``data.shapes.bodies``.
    """

    row: dict[str, Any]
    views: list[dict[str, Any]]
    notes: tuple[str, ...]
    body: tuple[float, ...]


def make_rows(item: SourceItem, loaded: LoadedScene, source_kind: str, config: ShapesConfig) -> ObjectPayload:
    """Render, reproject, sample and measure one object; a pure function of its arguments.

    Raises:
        DataError: the scene cannot be used; the message says why.
    """
    upright, notes = normalise_scene(loaded.scene, config.max_faces)
    notes = (*loaded.notes, *notes)
    scene = _rotated(upright, item.id, config)
    columns = object_columns(len(config.sigmas))
    cameras = place_cameras(item.id, config)
    pictures = render(scene, cameras, config.image_px, Lighting.named(config.lighting, config.seed, item.id))
    if all(float(picture.alpha.sum()) < 1.0 for picture in pictures):
        raise DataError("no view shows the object: its silhouette has no area", "check the mesh's faces")
    rgba = [straight_rgba(picture) for picture in pictures]
    cloud_points, cloud_colors = merged_cloud(rgba, [picture.depth for picture in pictures], cameras)
    if len(cloud_points) == 0:
        raise DataError("the object covers no pixel centre in any view", "it is too thin: raise --image-px")
    if len(cloud_points) > config.cloud_points:
        rng = numpy_generator(config.seed, item.id, "cloud")
        kept = rng.choice(len(cloud_points), config.cloud_points, replace=False)
        cloud_points, cloud_colors = cloud_points[kept], cloud_colors[kept]

    arrays: dict[str, np.ndarray] = {"cloud_points": cloud_points, "cloud_colors": cloud_colors}
    # A sheet must be thicker than the extraction cells, or marching cubes leaves holes in it.
    thickness = max(THICKNESS, 0.6 * 2 * GRID_HALF_EXTENT / config.truth_resolution)
    scanned = scan(scene.vertices, scene.faces, config.scan_views, config.scan_px)
    distance = ScanDistance(scene.vertices, scene.faces, scanned, thickness)
    grid = distance(grid_points(GRID_RESOLUTION)).reshape((GRID_RESOLUTION,) * 3)
    arrays["sdf32"] = columns["sdf32"].rounded(grid)
    arrays["occupancy32"] = (arrays["sdf32"] < 0).astype(np.float32)
    color_tree = cKDTree(cloud_points, balanced_tree=False, compact_nodes=False)
    _add_truth(arrays, distance, color_tree, cloud_colors, item, config)
    for index, sigma in enumerate(config.sigmas):
        rng = numpy_generator(config.seed, item.id, "samples", index)
        points, _, _ = sample_surface(arrays["mesh_vertices"], arrays["mesh_faces"], config.samples, rng)
        points = points + rng.normal(0.0, sigma, points.shape)
        names = [column.name for column in sample_columns(index)]
        # Stored points are rounded and clipped to [-1, 1]; distance and colour are computed at the stored point.
        points = columns[names[0]].rounded(points)
        arrays[names[0]] = points
        arrays[names[1]] = distance(points, max_distance=TRUNCATION + 2 * distance.thickness)
        arrays[names[2]] = nearest_colors(points, color_tree, cloud_colors)
    rng = numpy_generator(config.seed, item.id, "iou")
    points = columns["iou_points"].rounded(rng.uniform(-GRID_HALF_EXTENT, GRID_HALF_EXTENT, (config.iou_points, 3)))
    arrays["iou_points"] = points
    arrays["iou_inside"] = distance(points, max_distance=2 * distance.thickness) < 0

    material = item.material or dominant_material(scene)
    row: dict[str, Any] = {
        "id": item.id,
        "name": item.name,
        "category": item.category,
        "caption": make_caption(item, material),
        "style": item.style,
        "material": material,
        "licence": item.licence,
        "creator": item.creator,
        "source": f"{source_kind}:{item.reference}",
        "notes": "; ".join(notes),
    }
    row |= {name: column.pack(arrays[name]) for name, column in columns.items()}
    return ObjectPayload(row, _view_rows(item.id, rgba, pictures, cameras), notes, body_measures(upright))


def _rotated(upright: Scene, object_id: str, config: ShapesConfig) -> Scene:
    """The object as it is prepared, again with a longest edge of 1; unrotated, it stays as it is to the last bit."""
    if config.rotation == "none":
        return upright
    rotation = drawn_rotation(config.rotation, config.seed, object_id)
    # A degenerate triangle may pass in one frame and not in another, so what is left out is noted once.
    return normalise_scene(rotate_scene(upright, rotation), config.max_faces)[0]


def place_cameras(object_id: str, config: ShapesConfig) -> Camera:
    """The cameras of an object's views: a pure function of its id and the settings."""
    if config.views == "grid":
        return orbit_views(config.num_views, config.elevation_range_deg)
    rng = numpy_generator(config.seed, object_id, "views")
    return random_orbit_views(config.num_views, rng, config.elevation_range_deg)


def _add_truth(
    arrays: dict[str, np.ndarray],
    distance: ScanDistance,
    color_tree: cKDTree,
    cloud_colors: np.ndarray,
    item: SourceItem,
    config: ShapesConfig,
) -> None:
    """The watertight true surface, by marching cubes on the signed distance, and points on it."""

    def query(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(distance(points.numpy())), torch.zeros_like(points)

    mesh, _ = extract(Field(query), config.truth_resolution, colors=False)
    if mesh.is_empty:
        raise DataError("the scanned object has no surface", "check the mesh: no part of it is visible from outside")
    vertices, faces = mesh.vertices.numpy().astype(np.float32), mesh.faces.numpy().astype(np.int32)
    rng = numpy_generator(config.seed, item.id, "surface")
    points, _, normals = sample_surface(vertices, faces, config.surface_points, rng)
    arrays |= {
        "mesh_vertices": vertices,
        "mesh_faces": faces,
        "mesh_colors": nearest_colors(vertices, color_tree, cloud_colors),
        "surface_points": points,
        "surface_normals": normals,
    }


def nearest_colors(points: np.ndarray, tree: cKDTree, colors: np.ndarray, count: int = COLOR_NEIGHBOURS) -> np.ndarray:
    """Mean colour of the K nearest cloud points, float32 [N, 3]."""
    _, nearest = tree.query(points, k=min(count, len(colors)))
    picked: np.ndarray = colors[nearest]
    return picked.astype(np.float32) if picked.ndim == 2 else picked.mean(axis=1, dtype=np.float32)


def straight_rgba(picture: Rendering) -> np.ndarray:
    """uint8 [H, W, 4], colour not premultiplied, from an image composited on its background."""
    alpha = picture.alpha[..., None]
    background = np.asarray(picture.background, np.float32)
    rgb = (picture.rgb - (1 - alpha) * background) / np.maximum(alpha, 1e-6)
    rgb = np.where(alpha > 0, rgb, 0.0)
    return (np.concatenate([rgb, alpha], axis=-1).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _view_rows(
    object_id: str, rgba: list[np.ndarray], pictures: list[Rendering], cameras: Camera
) -> list[dict[str, Any]]:
    centers = camera_centers(cameras).double().numpy()
    rows = []
    for view, (image, picture) in enumerate(zip(rgba, pictures, strict=True)):
        x, y, z = centers[view]
        rows.append(
            {
                "id": object_id,
                "view": view,
                "rgba_png": _png(Image.fromarray(image)),
                "depth_png": _png(
                    Image.fromarray(np.rint(picture.depth / DEPTH_STEP).clip(0, 65535).astype(np.uint16))
                ),
                "focal": cameras.focal[view].tolist(),
                "principal": cameras.principal[view].tolist(),
                "rotation": cameras.rotation[view].flatten().tolist(),
                "translation": cameras.translation[view].tolist(),
                "projection": cameras.projection,
                "azimuth_deg": float(np.degrees(np.arctan2(x, z))) % 360.0,
                "elevation_deg": float(np.degrees(np.arctan2(y, np.hypot(x, z)))),
            }
        )
    return rows


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
