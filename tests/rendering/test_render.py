"""Pictures: colours in closed form, textures against plain Python, edges without pinholes, light that behaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import DataError
from raylift.core.types import Camera, Mesh
from raylift.geometry.cameras import orbit, orbit_views, orthographic_views, unproject
from raylift.rendering.corner_normals import corner_normals
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import Rendering, render
from raylift.rendering.scene import Material, Scene
from raylift.rendering.textures import build_atlas, sample_texture
from tests.rendering.pixels import rgba8


def quad(texture: np.ndarray | None = None, half: float = 0.5, repeat: float = 1.0, flipped: bool = False) -> Scene:
    """A square that faces +Z, its texture repeated ``repeat`` times."""
    corners = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * repeat
    if flipped:
        faces = faces[:, ::-1].copy()
    return Scene(
        corners,
        faces,
        np.zeros(2, np.int32),
        (Material((1.0, 1.0, 1.0) if texture is not None else (0.2, 0.4, 0.6), texture),),
        uvs[faces],
    )


def sphere() -> Scene:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    return Scene.from_mesh(Mesh(torch.tensor(mesh.vertices).float(), torch.tensor(mesh.faces)))


def front(half_width: float = 0.5) -> Camera:
    return orthographic_views(torch.tensor([[0.0, 0.0, 1.0]]), half_width)


def one(scene: Scene | Mesh, camera: Camera, image_px: int, **options: object) -> Rendering:
    (picture,) = render(scene, camera, image_px, **options)  # type: ignore[arg-type]
    return picture


def test_a_flat_colour_under_ambient_light_is_that_colour() -> None:
    picture = one(quad(half=0.25), front(), 32, lighting=Lighting.ambient(), background=(0.0, 1.0, 0.0))
    np.testing.assert_allclose(picture.rgb[10:22, 10:22], np.broadcast_to([0.2, 0.4, 0.6], (12, 12, 3)), atol=1e-6)
    np.testing.assert_allclose(picture.rgb[0, 0], [0, 1, 0])
    assert picture.alpha.mean() == pytest.approx(0.25)
    assert set(np.unique(picture.faces)) == {-1, 0, 1}
    assert picture.rgb.dtype == picture.alpha.dtype == picture.depth.dtype == np.float32
    assert picture.faces.dtype == np.int32


def test_the_whole_contract_on_several_cameras() -> None:
    pictures = render(sphere(), orbit_views(3), 24)
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.rgb.shape == (24, 24, 3)
        assert picture.alpha.shape == picture.depth.shape == picture.faces.shape == (24, 24)
        assert picture.rgb.min() >= 0
        assert picture.rgb.max() <= 1
        np.testing.assert_array_equal(picture.depth > 0, picture.faces >= 0)


def test_depth_is_the_surface_itself() -> None:
    camera = orbit(35, 25)
    picture = one(sphere(), camera, 48)
    rows, columns = np.nonzero(picture.depth)
    uv = torch.tensor(np.stack([(2 * columns + 1) / 48 - 1, (2 * rows + 1) / 48 - 1], -1)).float()
    points = unproject(camera, uv[None], torch.tensor(picture.depth[rows, columns])[None])[0].numpy()
    # A subdivided icosahedron lies just inside of its sphere.
    radii = np.linalg.norm(points, axis=1)
    assert radii.max() <= 0.5 + 1e-4
    assert radii.min() > 0.5 * 0.985
    toward_eye = (-camera.rotation[0].T @ camera.translation[0]).numpy()
    assert (points @ toward_eye > 0).all()


def test_depth_and_faces_are_not_averaged_at_edges() -> None:
    near, far = quad(half=0.2), quad(half=0.45)
    scene = Scene(
        np.concatenate([near.vertices + np.float32([0.013, 0.007, 0.3]), far.vertices - np.float32([0, 0, 0.3])]),
        np.concatenate([near.faces, far.faces + 4]),
        np.zeros(4, np.int32),
        near.materials,
        np.concatenate([near.corner_uvs, far.corner_uvs]),
    )
    picture = one(scene, front(), 31, supersample=4)
    levels = np.unique(picture.depth.round(5))
    np.testing.assert_allclose(levels, [0.0, 1.7, 2.3], atol=1e-4)


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_coverage_is_the_share_of_samples(supersample: int) -> None:
    picture = one(sphere(), orbit(10, 10), 40, supersample=supersample)
    shares = picture.alpha * supersample**2
    np.testing.assert_allclose(shares, shares.round(), atol=1e-4)
    fine = one(sphere(), orbit(10, 10), 40 * supersample, supersample=1)
    expected = fine.alpha.reshape(40, supersample, 40, supersample).mean((1, 3))
    np.testing.assert_allclose(picture.alpha, expected, atol=1e-6)
    coarse = fine.rgb.reshape(40, supersample, 40, supersample, 3).mean((1, 3))
    np.testing.assert_allclose(picture.rgb, coarse, atol=1e-5)


def test_no_pinholes_along_shared_edges() -> None:
    """Diagonals run exactly through pixel centres here: the rasteriser's contract would leave them open."""
    picture = one(quad(), front(), 16, supersample=1)
    assert (picture.alpha == 1).all()
    assert (picture.depth > 0).all()
    box = trimesh.creation.box((1, 1, 1)).subdivide().subdivide()
    scene = Scene.from_mesh(Mesh(torch.tensor(box.vertices).float(), torch.tensor(box.faces)))
    for camera in (front(), orbit(0, 0), orbit(45, 0), orbit(0, 90)):
        for size in (32, 33, 64):
            covered = one(scene, camera, size, supersample=1).alpha > 0
            spans = covered.cumsum(1)[:, -1]
            for row in np.flatnonzero(spans):
                inside = np.flatnonzero(covered[row])
                assert len(inside) == inside[-1] - inside[0] + 1


def test_a_texture_seen_texel_for_pixel() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    picture = one(quad(texture), front(), 16, lighting=Lighting.ambient(), supersample=1)
    np.testing.assert_allclose(picture.rgb, texture / 255, atol=1e-4)


def test_a_texture_repeats() -> None:
    texture = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    picture = one(quad(texture, repeat=2.0), front(), 16, lighting=Lighting.ambient(), supersample=1)
    np.testing.assert_allclose(picture.rgb, np.tile(texture, (2, 2, 1)) / 255, atol=1e-4)


def test_a_fine_texture_is_averaged_not_picked() -> None:
    """A checkerboard of single texels seen from afar is grey, not black and white at random."""
    board = np.indices((512, 512)).sum(0) % 2 * 255
    texture = np.repeat(board[:, :, None], 3, 2).astype(np.uint8)
    picture = one(quad(texture), front(), 32, lighting=Lighting.ambient())
    np.testing.assert_allclose(picture.rgb, 0.5, atol=0.02)


def plain_bilinear(texture: np.ndarray, u: float, v: float) -> np.ndarray:
    rows, columns, _ = texture.shape
    x, y = u * columns - 0.5, (1 - v) * rows - 0.5
    j, i = int(np.floor(x)), int(np.floor(y))
    mixed = np.zeros(3)
    for di in (0, 1):
        for dj in (0, 1):
            weight = abs(1 - di - (y - i)) * abs(1 - dj - (x - j))
            mixed += weight * texture[(i + di) % rows, (j + dj) % columns]
    return mixed / 255


def test_lookup_against_plain_python() -> None:
    rng = np.random.default_rng(2)
    texture = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    atlas = build_atlas([None, texture, texture], [(1.0, 1.0, 1.0)] * 3)
    assert atlas.num_levels.tolist() == [0, 3, 3]
    assert (atlas.first[1] == atlas.first[2]).all(), "one picture that two materials share is stored once"
    for u, v in [*rng.uniform(-3, 3, (50, 2)), (0.0, 0.0), (1.0, 1.0), (-1e-18, 1e-18), (1e12, -1e12)]:
        found = sample_texture(atlas.texels, atlas.first[1], atlas.height[1], atlas.width[1], 3, u, v, 0.0)
        np.testing.assert_allclose(found, plain_bilinear(texture, u - np.floor(u), v - np.floor(v)), atol=1e-9)
    last = sample_texture(atlas.texels, atlas.first[1], atlas.height[1], atlas.width[1], 3, 0.3, 0.3, 99.0)
    np.testing.assert_allclose(last, texture.mean((0, 1)) / 255, atol=0.15)
    for u in (np.nan, np.inf):
        assert np.isfinite(
            sample_texture(atlas.texels, atlas.first[1], atlas.height[1], atlas.width[1], 3, u, u, 1.5)
        ).all()


def test_texture_is_perspective_correct() -> None:
    """A floor seen at a slant: each pixel shows the texel of the point that its ray meets."""
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[:, None, None], 256, 1).repeat(3, 2)
    camera = orbit(0, 60)
    scene = quad(ramp)
    laid = Scene(
        scene.vertices[:, [0, 2, 1]] * np.float32([1, 1, -1]),
        scene.faces,
        scene.face_materials,
        scene.materials,
        scene.corner_uvs,
    )
    picture = one(laid, camera, 64, lighting=Lighting.ambient(), supersample=1)
    rows, columns = np.nonzero(picture.depth)
    uv = torch.tensor(np.stack([(2 * columns + 1) / 64 - 1, (2 * rows + 1) / 64 - 1], -1)).float()
    points = unproject(camera, uv[None], torch.tensor(picture.depth[rows, columns])[None])[0].numpy()
    expected = (points[:, 2] + 0.5).clip(0.01, 0.99)  # v = 1 at the far end, where the texture's first row is
    inner = (np.abs(points[:, 0]) < 0.45) & (np.abs(points[:, 2]) < 0.45)
    np.testing.assert_allclose(picture.rgb[rows, columns, 0][inner], expected[inner], atol=0.02)


def test_both_sides_are_lit_alike() -> None:
    for lighting in (Lighting.fixed(), Lighting.ambient()):
        ours, flipped = (one(quad(flipped=turn), orbit(20, 20), 24, lighting=lighting) for turn in (False, True))
        np.testing.assert_allclose(ours.rgb, flipped.rgb, atol=1e-6)


def test_light_that_is_the_same_from_everywhere_needs_no_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    lighting = Lighting((0.9, 0.8, 0.7), (0.9, 0.8, 0.7))
    assert lighting.is_uniform
    assert Lighting.ambient().is_uniform
    assert not Lighting.fixed().is_uniform
    assert not Lighting(ground=(0.5, 0.5, 0.5)).is_uniform
    picture = one(sphere(), orbit(15, 25), 32, lighting=lighting)
    monkeypatch.setattr(Lighting, "is_uniform", False)
    assert np.array_equal(picture.rgb, one(sphere(), orbit(15, 25), 32, lighting=lighting).rgb)


def test_vertex_colours_are_interpolated() -> None:
    corners = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    colors = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    mesh = Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), vertex_colors=colors)
    picture = one(mesh, front(), 16, lighting=Lighting.ambient(), supersample=1)
    centers = (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(picture.rgb[:, :, 0], np.broadcast_to(centers, (16, 16)), atol=1e-5)
    np.testing.assert_allclose(picture.rgb[:, :, 1], np.broadcast_to(1 - centers[:, None], (16, 16)), atol=1e-5)


def test_lamps_follow_the_cosine_law() -> None:
    angle = np.deg2rad(50)
    lighting = Lighting((0.1,) * 3, (0.1,) * 3, ((float(np.sin(angle)), 0.0, float(np.cos(angle))),), ((0.5,) * 3,))
    picture = one(quad(), front(), 8, lighting=lighting)
    expected = np.array([0.2, 0.4, 0.6]) * (0.1 + 0.5 * np.cos(angle))
    np.testing.assert_allclose(picture.rgb[4, 4], expected, atol=1e-5)


def test_a_sphere_is_shaded_smoothly_and_a_box_is_not() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    normals = corner_normals(ball.vertices, ball.faces)
    exact = ball.vertices[ball.faces] / 0.5
    assert (normals * exact).sum(-1).min() > 0.99
    box = trimesh.creation.box()
    np.testing.assert_allclose(
        corner_normals(box.vertices, box.faces), np.repeat(box.face_normals[:, None], 3, 1), atol=1e-9
    )


def test_smoothing_survives_seams_and_mixed_winding() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    faces = ball.faces.copy()
    faces[::3] = faces[::3, ::-1]
    torn = ball.vertices[faces].reshape(-1, 3)
    normals = corner_normals(torn, np.arange(len(torn)).reshape(-1, 3))
    side = np.where(np.arange(len(faces)) % 3 == 0, -1.0, 1.0)[:, None]
    assert ((normals * ball.vertices[faces] / 0.5).sum(-1) * side).min() > 0.99


def test_random_light_belongs_to_the_object() -> None:
    first, again, other = (Lighting.named("random", 7, name) for name in ("a", "a", "b"))
    assert first == again != other
    assert Lighting.named("random", 8, "a") != first
    for index in range(50):
        sky, ground, towards, power = Lighting.named("random", 0, f"chair-{index}").arrays()
        np.testing.assert_allclose(np.linalg.norm(towards, axis=1), 1)
        assert (towards[:, 1] > 0).all()
        assert 0.2 < ground.min() <= sky.max() < 0.9
        assert power.min() > 0.1
        assert power.max() < 0.7
    assert Lighting.named("fixed") == Lighting.fixed()
    assert Lighting.named("ambient") == Lighting.ambient()


def test_rgba_composites_back() -> None:
    for background in ((1.0, 1.0, 1.0), (0.1, 0.5, 0.9)):
        picture = one(sphere(), orbit(30, 20), 32, background=background)
        rgba = rgba8(picture).astype(np.float32) / 255
        assert rgba.shape == (32, 32, 4)
        again = rgba[:, :, :3] * rgba[:, :, 3:] + (1 - rgba[:, :, 3:]) * np.array(background)
        np.testing.assert_allclose(again, picture.rgb, atol=1.5 / 255)
        assert (rgba8(picture)[picture.alpha == 0] == 0).all()


def test_the_first_of_coplanar_faces_shows_without_speckles() -> None:
    red, blue = quad(half=0.4), quad(half=0.45)
    tilt = trimesh.transformations.rotation_matrix(0.7, [1, 2, 0.5])[:3, :3].astype(np.float32)
    scene = Scene(
        np.concatenate([red.vertices, blue.vertices]) @ tilt.T,
        np.concatenate([red.faces, blue.faces + 4]),
        np.array([0, 0, 1, 1], np.int32),
        (Material((1, 0, 0)), Material((0, 0, 1))),
        np.concatenate([red.corner_uvs, blue.corner_uvs]),
    )
    alone = one(quad_like(red, tilt), orbit(15, 25), 64, lighting=Lighting.ambient()).faces >= 0
    picture = one(scene, orbit(15, 25), 64, lighting=Lighting.ambient())
    assert alone.sum() > 300
    assert (picture.faces[alone] < 2).all()


def quad_like(scene: Scene, rotation: np.ndarray) -> Scene:
    return Scene(scene.vertices @ rotation.T, scene.faces, scene.face_materials, scene.materials, scene.corner_uvs)


def test_an_object_around_the_camera_is_cut_not_smeared() -> None:
    camera = Camera(torch.ones(1, 2), torch.zeros(1, 2), torch.eye(3)[None], torch.zeros(1, 3))
    texture = np.full((4, 4, 3), 128, np.uint8)
    floor = quad(texture, half=3.0)
    laid = Scene(
        floor.vertices[:, [0, 2, 1]] + np.float32([0, 0.5, 0]),
        floor.faces,
        floor.face_materials,
        floor.materials,
        floor.corner_uvs,
    )
    picture = one(laid, camera, 32, lighting=Lighting.ambient())
    centers = (2 * np.arange(32) + 1) / 32 - 1
    expected = np.where(centers > 0.5 / 3, 0.5 / np.maximum(centers, 1e-9), 0)
    np.testing.assert_allclose(picture.depth, np.broadcast_to(expected[:, None], (32, 32)), rtol=1e-4)
    np.testing.assert_allclose(picture.rgb[-1], 128 / 255, atol=1e-5)


def test_an_empty_scene_is_background() -> None:
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    picture = one(empty, orbit(0, 0), 8)
    assert (picture.rgb == 1).all()
    assert (picture.alpha == 0).all()
    assert (picture.depth == 0).all()
    assert (picture.faces == -1).all()


def broken(**changes: object) -> Scene:
    good = quad()
    return Scene(**{**vars(good), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scene", "word"),
    [
        (broken(vertices=np.full((4, 3), np.inf, np.float32)), "finite"),
        (broken(faces=np.array([[0, 1, 9], [0, 2, 3]], np.int32)), "9"),
        (broken(face_materials=np.array([0, 5], np.int32)), "materials"),
        (broken(face_materials=np.zeros(1, np.int32)), "materials"),
        (broken(corner_uvs=np.zeros((1, 3, 2), np.float32)), "corner_uvs"),
        (broken(vertex_colors=np.zeros((2, 3), np.float32)), "colours"),
        (broken(materials=(Material(texture=np.zeros((4, 4), np.uint8)),)), "texture"),
        (broken(materials=(Material(texture=np.zeros((4, 4, 3), np.float32)),)), "texture"),
        (broken(materials=(Material(texture=np.zeros((0, 4, 3), np.uint8)),)), "texture"),
    ],
)
def test_broken_scenes_are_named(scene: Scene, word: str) -> None:
    with pytest.raises(DataError, match=word):
        render(scene, orbit(0, 0), 8)


@pytest.mark.parametrize(("image_px", "supersample"), [(0, 1), (-3, 1), (10**6, 1), (8, 0), (8, 100)])
def test_impossible_sizes_are_refused(image_px: int, supersample: int) -> None:
    with pytest.raises(DataError):
        render(quad(), orbit(0, 0), image_px, supersample=supersample)


@pytest.mark.parametrize("seed", range(3))
def test_random_rubbish_gives_finite_pictures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = (rng.normal(size=(40, 3)) * 10 ** rng.uniform(-6, 6, (40, 1))).astype(np.float32)
    faces = rng.integers(0, 40, (80, 3)).astype(np.int32)
    uvs = rng.normal(size=(80, 3, 2)).astype(np.float32) * np.float32(1e20)
    uvs[rng.random(80) < 0.2] = np.nan
    scene = Scene(
        vertices,
        faces,
        rng.integers(0, 2, 80).astype(np.int32),
        (Material(), Material(texture=rng.integers(0, 256, (3, 9, 3)).astype(np.uint8))),
        uvs,
    )
    for picture in render(scene, orbit_views(2), 16):
        assert np.isfinite(picture.rgb).all()
        assert np.isfinite(picture.depth).all()
        assert ((picture.rgb >= 0) & (picture.rgb <= 1)).all()
