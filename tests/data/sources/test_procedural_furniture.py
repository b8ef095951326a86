"""Procedural furniture: pure, closed, varied, and oriented like Sweet Home 3D's."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import trimesh

from raylift.core.errors import ConfigError
from raylift.data.shapes.bodies import body_measures, same_bodies
from raylift.data.shapes.normalise import normalise_scene
from raylift.data.sources.base import SourceItem
from raylift.data.sources.opening import open_source
from raylift.data.sources.procedural_furniture.looks import ACCENT, MAIN, METAL
from raylift.data.sources.procedural_furniture.solids import bar, board, cushion, loft, outline, turned
from raylift.data.sources.procedural_furniture.source import CATEGORIES, ProceduralFurnitureSource, procedural_piece
from raylift.data.sources.procedural_parts import Parts
from raylift.data.sources.registry import source_entries
from raylift.data.sources.sh3f import CATEGORY_WORDS
from raylift.rendering.scene import Scene

COUNT = 180
SOURCE = ProceduralFurnitureSource(COUNT, seed=1)


@cache
def pieces() -> list[tuple[SourceItem, Scene]]:
    return [(item, SOURCE.load(item, 1).scene) for item in SOURCE.items()]


def of(category: str, *styles: str) -> list[Scene]:
    """Pieces of a category whose names end with one of the styles."""
    return [scene for item, scene in pieces() if item.category == category and item.name.endswith(styles or ("",))]


def corners(scene: Scene, *slots: int) -> np.ndarray:
    """Corners of the faces of some surfaces, [F, 3, 3]."""
    return scene.vertices[scene.faces[np.isin(scene.face_materials, slots)]]


def test_categories_take_turns_and_are_those_of_sweet_home() -> None:
    items = open_source("procedural:furniture:12").items()
    assert [item.category for item in items] == [*CATEGORIES, *CATEGORIES]
    assert {category for category, _, _ in CATEGORY_WORDS} == set(CATEGORIES)
    assert len({item.id for item in items}) == 12


def test_a_piece_is_a_function_of_seed_and_index() -> None:
    few = ProceduralFurnitureSource(18, seed=1).items()
    assert few == SOURCE.items()[:18]
    for index, item in enumerate(few):
        scene, again = SOURCE.load(item, 1).scene, procedural_piece(1, index)
        np.testing.assert_array_equal(scene.vertices, again.vertices)
        for one, other in zip(scene.materials, again.materials, strict=True):
            np.testing.assert_array_equal(one.texture, other.texture)
        assert not np.array_equal(scene.vertices, procedural_piece(2, index).vertices)


def test_words_that_are_no_count_are_refused() -> None:
    for place in ("furniture:many", "furnitures:12", "furniture:-3", "beds:12"):
        with pytest.raises(ConfigError, match="not a count") as caught:
            open_source(f"procedural:{place}")
        assert "procedural:furniture:60" in caught.value.remedy
    assert "furniture:COUNT" in source_entries()["procedural"].help


@pytest.mark.parametrize("index", range(60))
def test_parts_are_closed_and_stand_on_the_ground(index: int) -> None:
    _, scene = pieces()[index]
    for part in trimesh.Trimesh(scene.vertices, scene.faces, process=False).split(only_watertight=False):
        assert part.is_watertight
        assert part.volume > 0  # wound outwards
    low, high = scene.vertices.min(axis=0), scene.vertices.max(axis=0)
    assert low[1] == pytest.approx(0, abs=0.04)
    assert 0.15 < (high - low).max() < 4.6


def test_every_piece_can_be_prepared_and_names_its_material() -> None:
    for item, scene in pieces():
        prepared, notes = normalise_scene(scene, 100_000)
        assert not notes
        assert np.ptp(prepared.vertices, axis=0).max() == pytest.approx(1, abs=1e-5)
        assert item.material
        assert len(item.name.split()) > 1


@pytest.mark.parametrize("category", CATEGORIES[1:])
def test_no_two_pieces_have_one_body(category: str) -> None:
    scenes = of(category)
    assert not same_bodies([body_measures(scene) for scene in scenes], 0.005)
    names = {item.name for item, _ in pieces() if item.category == category}
    assert len(names) > 0.7 * len(scenes)


def test_sofas_have_their_back_behind_and_a_chaise_ahead() -> None:
    for scene in of("sofas", "bench sofa", "couch", "love seat"):
        y, z = scene.vertices[:, 1], scene.vertices[:, 2]
        assert z[y == y.max()].mean() < 0
    for scene in of("sofas", "chaise sofa", "corner sofa"):
        assert scene.vertices[:, 2].max() > -scene.vertices[:, 2].min() + 0.3


def test_beds_have_their_head_behind() -> None:
    for scene in of("beds", "double bed", "single bed", "child bed", "cradle bed"):
        y, z = scene.vertices[:, 1], scene.vertices[:, 2]
        assert z[y > 0.97 * y.max()].max() < 0
        assert np.ptp(z) > np.ptp(scene.vertices[:, 0]) or np.ptp(scene.vertices[:, 0]) > 1.3


def test_drawers_and_doors_are_at_the_front() -> None:
    with_handles = 0
    for scene in of("cabinets", "chest of drawers", "filing cabinet") + of("tables", "desk", "bedside table"):
        handles = corners(scene, METAL)[..., 2]
        if handles.size:
            assert handles.min() > 0
            with_handles += 1
    assert with_handles > 10


def test_lamps_reach_forwards() -> None:
    for scene in of("lamps", "wall lamp"):
        assert corners(scene, MAIN)[..., 2].max() < corners(scene, ACCENT)[..., 2].mean()
    for scene in of("lamps", "desk lamp"):
        assert scene.vertices[:, 2].max() > -scene.vertices[:, 2].min()


@pytest.mark.parametrize("hollow", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_lofts_are_wound_outwards_whichever_way_they_run(hollow: bool, backwards: bool) -> None:
    profile = [(1.0, 0.0), (1.0, 2.0), (0.9, 2.0), (0.9, 0.0)] if hollow else [(1.0, 0.0), (1.0, 2.0)]
    parts = Parts()
    turned(parts, profile[::-1] if backwards else profile, (3.0, -2.0), 0, sides=64, hollow=hollow)
    mesh = trimesh.Trimesh(parts.vertices[0], parts.faces[0], process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(2 * np.pi * (1 - 0.81 * hollow), rel=0.01)


def test_solids_fill_the_space_they_are_given() -> None:
    parts = Parts()
    cushion(parts, (0.0, 1.0, 2.0), (1.0, 1.5, 4.0), 0, bevel=0.1)
    bar(parts, [(0, 0, 0), (0, 1, 0), (1, 1, 0)], 0.1, 0, sides=32)
    board(parts, np.array([(-1.0, 0.0), (1.0, 0.0), (0.0, 1.0)]), 0.0, 0.5, 0)
    loft(parts, np.stack([np.insert(outline(2.0, 64), 1, y, axis=1) for y in (0.0, 1.0)]), 0)
    padded, bent, sawn, round_one = (
        trimesh.Trimesh(vertices, faces - faces.min(), process=False)
        for vertices, faces in zip(parts.vertices, parts.faces, strict=True)
    )
    np.testing.assert_allclose(padded.bounds, [[0, 1, 2], [1, 1.5, 4]], atol=0.06)
    assert bent.volume == pytest.approx(2 * np.pi * 0.01, rel=0.1)
    assert sawn.volume == pytest.approx(0.5)
    assert round_one.volume == pytest.approx(np.pi, rel=0.01)


def test_a_tilted_cushion_leans_back() -> None:
    parts = Parts()
    cushion(parts, (0.0, 0.0, 0.0), (1.0, 1.0, 0.2), 0, tilt=0.3)
    (vertices,) = parts.vertices
    upper = vertices[:, 1] > 0.5
    assert vertices[upper, 2].mean() < vertices[~upper, 2].mean()
