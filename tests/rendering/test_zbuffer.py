"""The compiled z-buffer against PyTorch3D's, against plain Python, and against what is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import fibonacci_directions, orbit, orthographic_views, project
from raylift.rendering.triangles import NEAR, project_triangles
from raylift.rendering.zbuffer import barycentric, fill_nearest
from tests.rendering.nearest_faces import NearestFaces, nearest_faces, nearest_faces_pytorch3d


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


def assert_same(ours: NearestFaces, theirs: NearestFaces, hesitant: float = 0.0) -> None:
    """Equal faces and depths; at most a share of ``hesitant`` pixels may differ (float32 on an edge or at a tie)."""
    same = ours.face == theirs.face
    assert float((~same).float().mean()) <= hesitant
    torch.testing.assert_close(ours.depth[same], theirs.depth[same], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_same_as_pytorch3d_on_a_sphere(projection: str) -> None:
    vertices, faces = icosphere()
    cameras = Camera.stack([orbit(20, 30), orbit(-130, -10), orbit(77, 85)])
    if projection == "orthographic":
        cameras = orthographic_views(fibonacci_directions(3), 0.6)
    ours = nearest_faces(vertices, faces, cameras, 64)
    assert_same(ours, nearest_faces_pytorch3d(vertices, faces, cameras, 64))
    assert ours.face.shape == ours.depth.shape == (3, 64, 64)
    assert (ours.face >= 0).float().mean() > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_same_as_pytorch3d_on_random_triangles(seed: int) -> None:
    vertices, faces = soup(60, 1.0, seed)
    for cameras in (orbit(40.0 * seed, 10.0), orthographic_views(fibonacci_directions(4)[seed : seed + 1], 0.9)):
        ours = nearest_faces(vertices, faces, cameras, 48)
        assert (ours.face >= 0).float().mean() > 0.1
        assert_same(ours, nearest_faces_pytorch3d(vertices, faces, cameras, 48), hesitant=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_same_as_pytorch3d_through_the_near_plane(seed: int) -> None:
    """Triangles around the camera: in front, behind, off the screen, and cut into one or two pieces."""
    vertices, faces = soup(40, 4.0, seed)
    camera = frontal("perspective", 0.0)
    depths = vertices[faces][..., 2]
    cut = (depths < NEAR).sum(-1)
    assert {0, 1, 2, 3} <= set(cut.tolist())
    ours = nearest_faces(vertices, faces, camera, 48)
    assert_same(ours, nearest_faces_pytorch3d(vertices, faces, camera, 48), hesitant=2e-3)
    assert bool((cut[ours.face[ours.face >= 0]] > 0).any())


def test_cut_faces_report_points_of_the_whole_face() -> None:
    """Shading finds a pixel's point by the weights of the piece's corners in the face that it was cut from."""
    vertices, faces = soup(40, 4.0, 1)
    camera, size = frontal("perspective", 0.0), 24
    screen = project_triangles(vertices.double().numpy(), faces.numpy(), camera)
    depth, triangle = fill_nearest(screen.corners, size, True, 0.0)
    points, centers = [], []
    for row, column in zip(*np.nonzero(triangle >= 0), strict=True):
        t = triangle[row, column]
        u, v = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
        weights = np.array(barycentric(u, v, screen.corners[t], True)) @ screen.weights[t]
        points.append(weights @ vertices[faces[screen.face[t]]].double().numpy())
        centers.append([u, v])
    uv, z = project(camera.to("cpu", torch.float64), torch.tensor(np.stack(points))[None])
    assert len(points) > 50
    assert len(screen.weights) > 0
    torch.testing.assert_close(uv[0], torch.tensor(centers).double(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(z[0], torch.from_numpy(depth[triangle >= 0]), rtol=1e-9, atol=1e-9)
    assert float(z.min()) >= NEAR * 0.999


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
    ours = nearest_faces(vertices, faces, camera, 24)
    mine = ours.face[0].numpy()
    assert (mine != owner).mean() <= 1 / 24**2
    agree = (mine == owner) & (owner >= 0)
    assert agree.any()
    np.testing.assert_allclose(ours.depth[0].numpy()[agree], depth[agree], rtol=1e-5)


def test_depth_of_one_triangle_in_closed_form() -> None:
    vertices = torch.tensor([[-0.8, -0.8, 0.0], [0.8, -0.8, 0.5], [-0.8, 0.8, 1.0]])
    ours = nearest_faces(vertices, torch.tensor([[0, 1, 2]]), frontal(), 20)
    column, row = 5, 6
    x, y = (2 * column + 1) / 20 - 1, (2 * row + 1) / 20 - 1
    assert ours.depth[0, row, column].item() == pytest.approx(1.0 + 0.5 * (x + 0.8) / 1.6 + (y + 0.8) / 1.6, rel=1e-5)
    assert ours.face[0, 19, 19] == ours.depth[0, 19, 19] == -1


def test_equal_depth_goes_to_the_lower_index() -> None:
    triangle = torch.tensor([[-0.9, -0.85, 0.0], [0.9, -0.8, 0.0], [0.1, 0.9, 0.0]])
    vertices = torch.cat([triangle + torch.tensor([0, 0, 0.5]), triangle, triangle])
    faces = torch.arange(9).reshape(3, 3)
    for find in (nearest_faces, nearest_faces_pytorch3d):
        assert set(find(vertices, faces, frontal(), 16).face.unique().tolist()) == {-1, 1}


def test_a_centre_on_a_shared_edge_is_covered() -> None:
    """The diagonal of an axis-aligned square runs through pixel centres: PyTorch3D leaves pinholes there, we do not."""
    vertices = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    ours, theirs = (find(vertices, faces, frontal(), 8) for find in (nearest_faces, nearest_faces_pytorch3d))
    diagonal = torch.eye(8, dtype=torch.bool)
    assert torch.equal(ours.face[0][~diagonal], theirs.face[0][~diagonal])
    assert (ours.face[0][diagonal][2:6] == 0).all(), "by the first face"
    assert (theirs.face[0][diagonal] == -1).all()


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
    for find in (nearest_faces, nearest_faces_pytorch3d):
        assert (find(vertices, faces, frontal(projection), 16).face == -1).all()


def test_extreme_coordinates_neither_crash_nor_write_outside() -> None:
    generator = torch.Generator().manual_seed(3)
    for scale in (1e-30, 1e6, 1e15, 1e37):
        vertices = torch.randn(300, 3, generator=generator) * scale
        faces = torch.arange(300).reshape(-1, 3)
        for projection in ("perspective", "orthographic"):
            found = nearest_faces(vertices, faces, frontal(projection), 16).face
            assert int(found.max()) < 100


def test_a_mesh_that_fills_the_screen_covers_every_pixel() -> None:
    vertices = torch.tensor([[-50.0, -40, 0], [60, -40, 0], [0.3, 90, 0]])
    ours = nearest_faces(vertices, torch.tensor([[0, 1, 2]]), frontal(), 33)
    assert (ours.face == 0).all()


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
        nearest_faces(vertices, faces, frontal(), size)
