"""The compiled rasteriser against PyTorch3D's, against plain Python, and against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import fibonacci_directions, orbit, orthographic_views, project
from raylift.rendering.fragments import Fragments
from raylift.rendering.rasterize import rasterize, rasterize_pytorch3d
from raylift.rendering.triangles import NEAR


def icosphere(subdivisions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces)


def soup(num_faces: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unconnected random triangles: wound either way, through each other, of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    centers = (torch.rand(num_faces, 1, 3, generator=generator) - 0.5) * spread
    sizes = 10 ** (-1.5 * torch.rand(num_faces, 1, 1, generator=generator)) * spread / 2
    corners = centers + torch.randn(num_faces, 3, 3, generator=generator) * sizes
    return corners.reshape(-1, 3), torch.arange(3 * num_faces).reshape(-1, 3)


def frontal(projection: str = "orthographic", z: float = 1.0) -> Camera:
    """Looks along +Z of the world with y down, from the origin moved back by z: u = x and v = y for orthographic."""
    return Camera(
        torch.ones(1, 2),
        torch.zeros(1, 2),
        torch.eye(3)[None],
        torch.tensor([[0.0, 0.0, z]]),
        projection,  # type: ignore[arg-type]
    )


def assert_same(ours: Fragments, theirs: Fragments, hesitant: float = 0.0) -> None:
    """Equal fragments; at most a share of ``hesitant`` pixels may pick other faces (float32 on an edge or at a tie)."""
    differs = (ours.pix_to_face != theirs.pix_to_face).any(-1)
    assert float(differs.float().mean()) <= hesitant
    same = ~differs
    torch.testing.assert_close(ours.zbuf[same], theirs.zbuf[same], rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(ours.dists[same], theirs.dists[same], rtol=1e-3, atol=1e-6)
    # Its float32 barycentrics lose digits on slivers: hold most of them tightly and all of them loosely.
    gap = (ours.bary_coords[same] - theirs.bary_coords[same]).abs().amax(-1)
    if gap.numel():
        assert float(gap.quantile(0.99) if gap.numel() < 1e6 else gap.mean()) < 1e-3
        assert float(gap.max()) < 0.05


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_same_as_pytorch3d_on_a_sphere(projection: str) -> None:
    vertices, faces = icosphere()
    cameras = Camera.stack([orbit(20, 30), orbit(-130, -10), orbit(77, 85)])
    if projection == "orthographic":
        cameras = orthographic_views(fibonacci_directions(3), 0.6)
    ours = rasterize(vertices, faces, cameras, 64)
    assert_same(ours, rasterize_pytorch3d(vertices, faces, cameras, 64))
    assert ours.pix_to_face.shape == (3, 64, 64, 1)
    assert ours.bary_coords.shape == (3, 64, 64, 1, 3)
    assert ours.pix_to_face.dtype == torch.int64
    assert ours.zbuf.dtype == ours.bary_coords.dtype == ours.dists.dtype == torch.float32


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("faces_per_pixel", "blur_radius"), [(1, 0.0), (5, 0.0), (3, 1e-3)])
def test_same_as_pytorch3d_on_random_triangles(seed: int, faces_per_pixel: int, blur_radius: float) -> None:
    vertices, faces = soup(60, 1.0, seed)
    for cameras in (orbit(40.0 * seed, 10.0), orthographic_views(fibonacci_directions(4)[seed : seed + 1], 0.9)):
        ours = rasterize(vertices, faces, cameras, 48, faces_per_pixel, blur_radius)
        theirs = rasterize_pytorch3d(vertices, faces, cameras, 48, faces_per_pixel, blur_radius)
        assert (ours.pix_to_face[..., 0] >= 0).float().mean() > 0.1
        assert_same(ours, theirs, hesitant=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_same_as_pytorch3d_through_the_near_plane(seed: int) -> None:
    """Triangles around the camera: in front, behind, off the screen, and cut into one or two pieces."""
    vertices, faces = soup(40, 4.0, seed)
    camera = frontal("perspective", 0.0)
    depths = vertices[faces][..., 2]
    cut = (depths < NEAR).sum(-1)
    assert {0, 1, 2, 3} <= set(cut.tolist())
    ours = rasterize(vertices, faces, camera, 48)
    assert_same(ours, rasterize_pytorch3d(vertices, faces, camera, 48), hesitant=2e-3)
    assert bool((cut[ours.pix_to_face[ours.pix_to_face >= 0]] > 0).any())


def test_cut_faces_report_points_of_the_whole_face() -> None:
    vertices, faces = soup(40, 4.0, 1)
    camera = frontal("perspective", 0.0)
    ours = rasterize(vertices, faces, camera, 64)
    seen = ours.pix_to_face[0, :, :, 0] >= 0
    weights = ours.bary_coords[0, :, :, 0][seen].double()
    corners = vertices.double()[faces[ours.pix_to_face[0, :, :, 0][seen]]]
    points = (weights[:, :, None] * corners).sum(1)
    uv, depth = project(camera.to("cpu", torch.float64), points[None])
    rows, columns = torch.nonzero(seen, as_tuple=True)
    centers = torch.stack([(2 * columns + 1) / 64 - 1, (2 * rows + 1) / 64 - 1], -1).double()
    torch.testing.assert_close(uv[0], centers, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(depth[0], ours.zbuf[0, :, :, 0][seen].double(), rtol=1e-4, atol=1e-5)
    assert float(depth.min()) >= NEAR * 0.999


def reference(vertices: np.ndarray, faces: np.ndarray, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Slow and obvious: cast a ray through each pixel centre and meet each triangle (Moeller and Trumbore 1997)."""
    rotation, shift = camera.rotation[0].double().numpy(), camera.translation[0].double().numpy()
    focal, principal = camera.focal[0].double().numpy(), camera.principal[0].double().numpy()
    points = vertices @ rotation.T + shift
    owner, depth = np.full((size, size), -1), np.full((size, size), np.inf)
    for row in range(size):
        for column in range(size):
            uv = np.array([(2 * column + 1) / size - 1, (2 * row + 1) / size - 1])
            aim = np.append((uv - principal) / focal, 0.0)
            if camera.projection == "perspective":
                origin, direction = np.zeros(3), aim + np.array([0.0, 0.0, 1.0])
            else:
                origin, direction = aim, np.array([0.0, 0.0, 1.0])
            for index, face in enumerate(faces):
                a, b, c = points[face]
                normal = np.cross(direction, c - a)
                determinant = normal @ (b - a)
                if abs(determinant) < 1e-12:
                    continue
                s = (normal @ (origin - a)) / determinant
                around = np.cross(origin - a, b - a)
                t = (around @ direction) / determinant
                z = (around @ (c - a)) / determinant
                if s > 0 and t > 0 and s + t < 1 and NEAR <= z < depth[row, column]:
                    owner[row, column], depth[row, column] = index, z
    return owner, depth


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_same_as_casting_rays(seed: int, projection: str) -> None:
    vertices, faces = soup(12, 1.5, seed)
    camera = frontal(projection, 0.5)
    owner, depth = reference(vertices.double().numpy(), faces.numpy(), camera, 24)
    ours = rasterize(vertices, faces, camera, 24)
    mine = ours.pix_to_face[0, :, :, 0].numpy()
    assert (mine != owner).mean() <= 1 / 24**2
    agree = (mine == owner) & (owner >= 0)
    assert agree.any()
    np.testing.assert_allclose(ours.zbuf[0, :, :, 0].numpy()[agree], depth[agree], rtol=1e-5)


def test_distance_and_weights_of_one_triangle_in_closed_form() -> None:
    vertices = torch.tensor([[-0.8, -0.8, 0.0], [0.8, -0.8, 0.5], [-0.8, 0.8, 1.0]])
    ours = rasterize(vertices, torch.tensor([[0, 1, 2]]), frontal(), 20)
    column, row = 5, 6
    x, y = (2 * column + 1) / 20 - 1, (2 * row + 1) / 20 - 1
    b, c = (x + 0.8) / 1.6, (y + 0.8) / 1.6
    expected = torch.tensor([1 - b - c, b, c])
    torch.testing.assert_close(ours.bary_coords[0, row, column, 0], expected, rtol=1e-5, atol=1e-6)
    assert ours.zbuf[0, row, column, 0].item() == pytest.approx(1.0 + 0.5 * b + c, rel=1e-5)
    to_edges = min(x + 0.8, y + 0.8, abs(x + y) / 2**0.5)
    assert ours.dists[0, row, column, 0].item() == pytest.approx(-(to_edges**2), rel=1e-4)
    outside = ours.pix_to_face[0, 19, 19, 0]
    assert outside == -1
    assert ours.zbuf[0, 19, 19, 0] == ours.dists[0, 19, 19, 0] == -1
    assert (ours.bary_coords[0, 19, 19, 0] == -1).all()


def test_equal_depth_goes_to_the_lower_index() -> None:
    triangle = torch.tensor([[-0.9, -0.85, 0.0], [0.9, -0.8, 0.0], [0.1, 0.9, 0.0]])
    vertices = torch.cat([triangle + torch.tensor([0, 0, 0.5]), triangle, triangle])
    faces = torch.arange(9).reshape(3, 3)
    for backend in (rasterize, rasterize_pytorch3d):
        layers = backend(vertices, faces, frontal(), 16, 3).pix_to_face
        seen = layers[..., 0] >= 0
        assert layers[seen].unique(dim=0).tolist() == [[1, 2, 0]]
        nearest = backend(vertices, faces, frontal(), 16).pix_to_face
        assert set(nearest.unique().tolist()) == {-1, 1}


def test_a_centre_on_an_edge_is_not_covered() -> None:
    """The diagonal of an axis-aligned square runs through pixel centres: PyTorch3D leaves them out, and so do we."""
    vertices = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    ours, theirs = (backend(vertices, faces, frontal(), 8) for backend in (rasterize, rasterize_pytorch3d))
    assert torch.equal(ours.pix_to_face, theirs.pix_to_face)
    assert (torch.diagonal(ours.pix_to_face[0, :, :, 0]) == -1).all()


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (torch.zeros(3, 3), torch.tensor([[0, 1, 2]])),
        (torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0], [-0.5, -0.5, 0]]), torch.tensor([[0, 1, 2]])),
        (torch.tensor([[0.0, 0, -5], [0.5, 0, -5], [0, 0.5, -5]]), torch.tensor([[0, 1, 2]])),
        (torch.tensor([[5.0, 0, 0], [6, 0, 0], [5, 1, 0]]), torch.tensor([[0, 1, 2]])),
        (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)),
        (torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[1, 1, 2]])),
    ],
    ids=["a point", "a line", "behind", "off the screen", "nothing", "a repeated vertex"],
)
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_nothing_to_see(vertices: torch.Tensor, faces: torch.Tensor, projection: str) -> None:
    for layers in (1, 2):
        ours = rasterize(vertices, faces, frontal(projection), 16, layers)
        assert_same(ours, rasterize_pytorch3d(vertices, faces, frontal(projection), 16, layers))
        assert (ours.pix_to_face == -1).all()
        assert (ours.dists == -1).all()


def test_extreme_coordinates_neither_crash_nor_write_outside() -> None:
    generator = torch.Generator().manual_seed(3)
    for scale in (1e-30, 1e6, 1e15, 1e37):
        vertices = torch.randn(300, 3, generator=generator) * scale
        faces = torch.arange(300).reshape(-1, 3)
        for projection in ("perspective", "orthographic"):
            for layers, blur in ((1, 0.0), (2, 1e-4)):
                ours = rasterize(vertices, faces, frontal(projection), 16, layers, blur)
                assert int(ours.pix_to_face.max()) < 100
                assert bool((ours.pix_to_face >= -1).all())


def test_a_mesh_that_fills_the_screen_covers_every_pixel() -> None:
    vertices = torch.tensor([[-50.0, -40, 0], [60, -40, 0], [0.3, 90, 0]])
    ours = rasterize(vertices, torch.tensor([[0, 1, 2]]), frontal(), 33)
    assert (ours.pix_to_face == 0).all()


@pytest.mark.parametrize(
    ("vertices", "faces", "size", "word"),
    [
        (torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]]), 8, "finite"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), 8, "0..3"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, -1]]), 8, "-1..1"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), 0, "pixels"),
    ],
)
def test_bad_meshes_are_named(vertices: torch.Tensor, faces: torch.Tensor, size: int, word: str) -> None:
    with pytest.raises(DataError, match=word):
        rasterize(vertices, faces, frontal(), size)


def test_bad_layers_are_refused() -> None:
    vertices, faces = icosphere(0)
    with pytest.raises(DataError, match="faces_per_pixel"):
        rasterize(vertices, faces, frontal(), 8, 0)
    with pytest.raises(DataError, match="blur_radius"):
        rasterize(vertices, faces, frontal(), 8, 1, -1.0)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_fragments() -> None:
    vertices, faces = icosphere()
    cameras = Camera.stack([orbit(20, 30), orbit(-130, -10)])
    theirs = rasterize(vertices.cuda(), faces.cuda(), cameras, 64)
    on_cpu = Fragments(*(getattr(theirs, name).cpu() for name in ("pix_to_face", "zbuf", "bary_coords", "dists")))
    assert_same(rasterize(vertices, faces, cameras, 64), on_cpu, hesitant=1e-3)
