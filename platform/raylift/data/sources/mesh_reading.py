"""Reads mesh files with trimesh; files they refer to must be inside of the source."""

from __future__ import annotations

import hashlib
import io
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from trimesh.resolvers import Resolver

from raylift.core.color_space import linear_to_srgb
from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.archives import open_zip, read_zip_member
from raylift.core.inputs.pictures import texture_pixels
from raylift.data.sources.base import LoadedScene
from raylift.data.sources.gltf_checks import check_gltf
from raylift.rendering.scene import Material, Scene

MESH_SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off")
_MAX_TEXTURE_PX = 1024
_PLAIN = (0.8, 0.8, 0.8)
_SIMPLIFY = "simplify the mesh"
_LARGE = "simplify the mesh, or raise --max-file-mib"


class Budget:
    """What is left of the limits on all files of one mesh: they are smaller together than one may be.

    Args:
        max_bytes: size of all files that the mesh refers to.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = self._files = self._pixels = 0

    def spend(self, data: bytes, name: str) -> None:
        """Count a file.

        Raises:
            DataError: too many files, bytes or pixels; or a texture that is too large by itself.
        """
        pixels = texture_pixels(data, name)
        files, remedy = "the files of this mesh", "make its textures smaller"
        limits.refuse_above(limits.MESH_FILES, self._files + 1, "this mesh", "files", "merge its files")
        limits.refuse_large(self._bytes + len(data), self._max_bytes, files, "raise --max-file-mib", "have")
        limits.refuse_above(limits.TEXTURES_PIXELS, self._pixels + pixels, files, "pixels of textures", remedy, "have")
        self._files, self._bytes, self._pixels = self._files + 1, self._bytes + len(data), self._pixels + pixels


class ContainedFiles(Resolver):  # type: ignore[misc]
    """Reads the files that a mesh refers to, only under one root; notes those it could not read.

    Args:
        read: returns the bytes of a path relative to the root (POSIX, normalised), or raises OSError or KeyError.
        folder: folder of the mesh file, relative to the root.
        budget: what all files of the mesh may have together.
    """

    def __init__(
        self, read: Callable[[str], bytes], folder: str, budget: Budget, notes: list[str] | None = None
    ) -> None:
        self._read = read
        self._folder = folder
        self._budget = budget
        self.notes: list[str] = [] if notes is None else notes

    def get(self, key: str) -> bytes:
        """The bytes of a file that the mesh names.

        Raises:
            FileNotFoundError: missing, absolute, or outside of the root; also noted in ``notes``.
        """
        name = key.strip().replace("\\", "/")
        path = posixpath.normpath(posixpath.join(self._folder, name))
        if name.startswith("/") or ":" in name or path.startswith("../") or path == "..":
            self._note(f"refers to {key!r}, which lies outside of the source: ignored")
            raise FileNotFoundError(key)
        try:
            data = self._read(path)
            self._budget.spend(data, path)
        except (OSError, KeyError):
            self._note(f"refers to {key!r}, which does not exist or is too large: left out")
            raise FileNotFoundError(key) from None
        except DataError as error:
            self._note(f"refers to {key!r}, which is left out: {error.problem}")
            raise FileNotFoundError(key) from None
        return data

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def keys(self) -> list[str]:
        return []

    def write(self, name: str, data: Any) -> None:
        raise PermissionError(f"sources are read-only: {name}")

    def namespaced(self, namespace: str) -> ContainedFiles:
        return ContainedFiles(self._read, posixpath.join(self._folder, namespace), self._budget, self.notes)


def read_mesh_in_folder(root: Path, relative: str, max_bytes: int) -> LoadedScene:
    """Read a mesh file under ``root``; files it refers to must be under ``root`` too.

    Raises:
        DataError: missing, too large, broken or without faces; the file is named.
    """
    base = root.resolve()

    def read(path: str) -> bytes:
        target = (base / path).resolve()  # links must not lead outside either
        # Textures and materials have the same size limit as the mesh.
        if not target.is_relative_to(base) or target.stat().st_size > max_bytes:
            raise FileNotFoundError(path)
        return target.read_bytes()

    path = base / relative
    if not path.is_file() or not path.resolve().is_relative_to(base):
        raise DataError(f"{relative} is not a file under {root}", "check the path, or prepare the source again")
    _refuse_large(relative, path.stat().st_size, max_bytes)
    return _to_scene(path.read_bytes(), relative, read, max_bytes)


def read_mesh_in_zip(archive: Path, member: str, max_bytes: int) -> LoadedScene:
    """Read a mesh inside a zip; files it refers to must be in the zip too.

    Raises:
        DataError: as ``read_mesh_in_folder``; also a damaged archive.
    """
    with open_zip(archive, archive.name, "download the library again") as opened:
        try:
            info = opened.getinfo(member)
        except KeyError:
            raise DataError(
                f"{archive.name} has no {member!r}", "the library is incomplete: download it again"
            ) from None
        _refuse_large(member, info.file_size, max_bytes)

        def read(path: str) -> bytes:
            entry = opened.getinfo(path)
            # A small file can unpack to a huge one, so textures and materials have the same size limit.
            if entry.file_size > max_bytes:
                raise FileNotFoundError(path)
            return read_zip_member(opened, entry, max_bytes, path, _LARGE)

        return _to_scene(read_zip_member(opened, info, max_bytes, member, _LARGE), member, read, max_bytes)


def file_stamp(path: Path) -> str:
    """A text that changes with the file; empty if the file is missing."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _refuse_large(name: str, size: int, max_bytes: int) -> None:
    limits.refuse_large(size, max_bytes, name, _LARGE)
    if size == 0:
        raise DataError(f"{name} is an empty file", "export the mesh again")


def _to_scene(data: bytes, name: str, read: Callable[[str], bytes], max_bytes: int) -> LoadedScene:
    files = ContainedFiles(read, posixpath.dirname(name), Budget(max_bytes))
    kind = posixpath.splitext(name)[1].lstrip(".").lower()
    if kind in ("glb", "gltf"):
        check_gltf(data, name, max_bytes)
    try:
        loaded = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=files, process=False)
        scene = scene_from_trimesh(loaded, linear=kind in ("glb", "gltf"))
    except DataError as error:
        raise DataError(f"{name}: {error.problem}", error.remedy) from error
    except Exception as error:
        raise DataError(f"{name} cannot be read: {type(error).__name__}: {error}", "export the mesh again") from error
    return LoadedScene(scene, (*files.notes, *_opacity_notes(loaded)))


OPAQUE = 250 / 255
"""Opacity below which a material counts as transparent: exporters round 1."""


def _opacity_notes(loaded: trimesh.Scene) -> list[str]:
    """Notes that transparency is ignored: everything is rendered opaque and measured solid."""
    materials = [getattr(geometry.visual, "material", None) for geometry in loaded.geometry.values()]
    clear = sum(_is_clear(material) for material in materials if material is not None)
    if not clear:
        return []
    return [
        f"{clear} of {len(materials)} materials are transparent or have cut-out textures (glass, nets, leaves): they "
        "are drawn opaque and measured solid"
    ]


def _is_clear(material: Any) -> bool:
    """Whether a material lets light through: by its own opacity, or by its texture's alpha channel."""
    properties = getattr(material, "kwargs", {})
    for name, opaque_is in (("d", 1.0), ("tr", 0.0)):
        value = np.asarray(properties.get(name, opaque_is), object).reshape(-1)
        try:
            if len(value) and abs(float(value[0]) - opaque_is) > 1 - OPAQUE:
                return True
        except ValueError:
            continue
    if getattr(material, "alphaMode", None) == "OPAQUE":
        return False
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None and len(factor) == 4:
        top = 255 if np.asarray(factor).dtype.kind in "ui" else 1
        if float(factor[3]) / top < OPAQUE:
            return True
    image = getattr(material, "image", None)
    image = getattr(material, "baseColorTexture", None) if image is None else image
    if image is None or not ("A" in image.getbands() or "transparency" in image.info):
        return False
    return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255 * OPAQUE)


def scene_from_trimesh(loaded: trimesh.Scene, linear: bool = False) -> Scene:
    """All triangles of a trimesh scene, with transforms applied and one material per geometry.

    Args:
        linear: whether factors and vertex colours are linear light, as in glTF; textures never are.

    Raises:
        DataError: the scene has no faces, or more than the limit.
    """
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    uvs: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    colors: list[np.ndarray] = []
    materials: list[Material] = []
    textures = _Textures()
    base = num_faces = 0
    for node in loaded.graph.nodes_geometry:
        transform, geometry_name = loaded.graph[node]
        geometry = loaded.geometry[geometry_name]
        if not isinstance(geometry, trimesh.Trimesh) or len(geometry.faces) == 0:
            continue
        num_faces, base_next = num_faces + len(geometry.faces), base + len(geometry.vertices)
        # A scene may place one mesh a million times.
        limits.refuse_above(limits.MESH_ELEMENTS, max(num_faces, base_next), "it", "triangles or vertices", _SIMPLIFY)
        points = trimesh.transform_points(geometry.vertices, transform)
        corners = np.asarray(geometry.faces, np.int64)
        if np.linalg.det(transform[:3, :3]) < 0:
            corners = corners[:, ::-1]
        uv = getattr(geometry.visual, "uv", None)
        uv = None if uv is None or len(uv) != len(points) else np.nan_to_num(np.asarray(uv, np.float32)[:, :2])
        materials.append(_material(geometry, textures if uv is not None else None, linear))
        vertices.append(np.asarray(points, np.float32))
        faces.append(corners + base)
        uvs.append(np.zeros((len(corners), 3, 2), np.float32) if uv is None else uv[corners])
        owners.append(np.full(len(corners), len(materials) - 1, np.int32))
        colors.append(_vertex_colors(geometry, len(points), linear))
        base = base_next
    if not faces:
        raise DataError("it has no triangles", "export it as a triangle mesh")
    all_colors = np.concatenate(colors)
    return Scene(
        vertices=np.concatenate(vertices),
        faces=np.concatenate(faces).astype(np.int32),
        face_materials=np.concatenate(owners),
        materials=tuple(materials),
        corner_uvs=np.concatenate(uvs),
        vertex_colors=None if bool((all_colors == 1.0).all()) else all_colors,
    )


def _vertex_colors(geometry: trimesh.Trimesh, count: int, linear: bool) -> np.ndarray:
    """RGB in [0, 1] as displayed; white without colours."""
    visual = geometry.visual
    if getattr(visual, "kind", None) in ("vertex", "face"):
        stored = np.asarray(visual.vertex_colors)
    else:  # trimesh keeps the colours of vertices that also have a material as an attribute
        stored = np.asarray(getattr(visual, "vertex_attributes", {}).get("color", np.zeros((0, 3))))
    if len(stored) != count or stored.ndim != 2 or stored.shape[1] < 3:
        return np.ones((count, 3), np.float32)
    top = np.iinfo(stored.dtype).max if stored.dtype.kind in "ui" else 1
    colors = np.nan_to_num(stored[:, :3].astype(np.float64) / top).clip(0, 1)
    return np.asarray(linear_to_srgb(colors) if linear else colors, np.float32)


class _Textures:
    """Pictures of materials as arrays; equal ones are one array, since scenes repeat a texture in many materials."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[int, ...], bytes], np.ndarray] = {}

    def read(self, image: Any) -> np.ndarray:
        """uint8 [H, W, 3], at most ``_MAX_TEXTURE_PX`` a side."""
        picture = image.convert("RGB")
        picture.thumbnail((_MAX_TEXTURE_PX, _MAX_TEXTURE_PX))
        texture = np.asarray(picture, np.uint8)
        key = texture.shape, hashlib.sha256(texture.tobytes()).digest()
        return self._known.setdefault(key, texture.copy())


def _material(geometry: trimesh.Trimesh, textures: _Textures | None, linear: bool) -> Material:
    """The material of a geometry, without its picture if it has no texture coordinates (``textures`` is None)."""
    material = getattr(geometry.visual, "material", None)
    if material is None:
        colored = getattr(geometry.visual, "kind", None) in ("vertex", "face")
        return Material((1.0, 1.0, 1.0) if colored else _PLAIN)
    name = str(getattr(material, "name", "") or "")
    image = getattr(material, "image", None)
    image = getattr(material, "baseColorTexture", None) if image is None else image
    tint = getattr(material, "diffuse", None)
    tint = getattr(material, "baseColorFactor", None) if tint is None else tint
    color = np.ones(3) if tint is None else np.asarray(tint, np.float64)[:3]
    if tint is not None and np.asarray(tint).dtype.kind in "ui":
        color = color / 255.0
    color = np.clip(np.nan_to_num(color), 0.0, 1.0)
    if linear:
        color = linear_to_srgb(color)
    texture = None
    if image is not None and textures is not None:
        texture = textures.read(image)
        if color.max() < 0.05:
            color = np.ones(3)  # exporters write a black Kd with a texture and mean the texture alone
    elif tint is None:
        has_colors = "color" in getattr(geometry.visual, "vertex_attributes", {})
        color = np.ones(3) if has_colors else np.asarray(_PLAIN)
    return Material((float(color[0]), float(color[1]), float(color[2])), texture, name)
