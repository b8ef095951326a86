"""Every protocol against closed forms (concentric spheres and boxes) and a brute-force reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from raylift.core.errors import DataError
from raylift.core.generators import numpy_generator
from raylift.metrics.nearest import Cloud, match
from raylift.metrics.protocols import EMPTY_DISTANCE, SHAPE_PROTOCOLS, disn_f_scores
from raylift.metrics.scores import Score, ScoreTable
from raylift.metrics.shape_pair import Shape, ShapePair, TargetShape
from tests.metrics.shapes import box, sphere

INNER, OUTER = 0.4, 0.44
GAP = OUTER - INNER


def _truth(radius: float = OUTER, seed: int = 0) -> TargetShape:
    points = np.random.default_rng(7).uniform(-0.55, 0.55, (100_000, 3))
    return TargetShape("ball", Shape(*sphere(radius)), None, points, np.linalg.norm(points, axis=1) < radius, seed)


@pytest.fixture(scope="module")
def pair() -> ShapePair:
    return ShapePair(Shape(*sphere(INNER)), _truth())


@pytest.fixture(scope="module")
def same() -> ShapePair:
    return ShapePair(Shape(*sphere(OUTER)), _truth())


def test_occnet_on_concentric_spheres(pair: ShapePair) -> None:
    scores = SHAPE_PROTOCOLS["occnet"].score(pair)
    assert scores["iou"] == pytest.approx((INNER / OUTER) ** 3, abs=0.01)
    assert scores["chamfer_l1"] == pytest.approx(GAP, rel=0.01)
    assert scores["chamfer_l2"] == pytest.approx(GAP**2, rel=0.02)
    assert scores["normal_consistency"] == pytest.approx(1.0, abs=2e-3)


def test_ifnet_on_concentric_spheres(pair: ShapePair) -> None:
    scores = SHAPE_PROTOCOLS["ifnet"].score(pair)
    assert scores["iou"] == pytest.approx((INNER / OUTER) ** 3, abs=0.004)
    assert scores["chamfer_l2"] == pytest.approx((GAP / (2 * OUTER)) ** 2, rel=0.02)  # the box's edge is 1
    assert scores["normal_consistency"] == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("edge", [1.0, 1.25])
def test_ifnet_looks_inside_the_unit_box_only(edge: float) -> None:
    at = (0.1, -0.2, 0.3)
    truth = TargetShape("slab", Shape(*box((edge, edge, 0.5), at)))
    grown = Shape(*box((1.1 * edge, 1.1 * edge, 0.5), at))  # what sticks out of the truth's cube is not seen
    assert SHAPE_PROTOCOLS["ifnet"].score(ShapePair(grown, truth))["iou"] == 1.0


def test_ifnet_and_disn_do_not_depend_on_unit_and_origin(pair: ShapePair) -> None:
    """Both bring the truth into a frame of their own first."""
    unit, origin = 3.0, np.array([0.5, -0.25, 2.0])
    moved = ShapePair(
        Shape(unit * pair.predicted.vertices + origin, pair.predicted.faces),
        TargetShape("ball", Shape(unit * pair.truth.shape.vertices + origin, pair.truth.shape.faces)),
    )
    for name in ("ifnet", "disn"):
        ours, theirs = SHAPE_PROTOCOLS[name].score(pair), SHAPE_PROTOCOLS[name].score(moved)
        assert theirs == pytest.approx(ours, rel=1e-6)


def test_deepsdf_on_concentric_spheres(pair: ShapePair) -> None:
    # The outer sphere's sample is coarser at 30 000 points: its own spacing adds to the squared distance.
    assert SHAPE_PROTOCOLS["deepsdf"].score(pair)["chamfer"] == pytest.approx(2 * GAP**2, rel=0.03)


def test_meshrcnn_scales_the_truth_to_ten(pair: ShapePair) -> None:
    scores = SHAPE_PROTOCOLS["meshrcnn"].score(pair)
    scaled = GAP * 10 / (2 * OUTER)  # 0.4545: between the second and the third threshold
    assert scores["chamfer"] == pytest.approx(2 * scaled**2, rel=0.08)
    assert scores["f1_0.1"] == 0.0
    assert scores["f1_0.3"] == 0.0
    assert scores["f1_0.5"] > 0.9


def _sphere_of(truth: TargetShape) -> tuple[np.ndarray, float]:
    """DISN's normalisation: mean and largest distance of 16 384 surface points."""
    points = truth.shape.sample(16_384, numpy_generator(truth.seed, truth.id, "unit sphere")).points
    return points.mean(axis=0), np.linalg.norm(points - points.mean(axis=0), axis=1).max()


def test_disn_on_concentric_boxes() -> None:
    # Eight vertices each: 2048 draws take them all, and every distance is that of two corners.
    truth = TargetShape("box", Shape(*box((0.9, 0.9, 0.9))))
    scores = SHAPE_PROTOCOLS["disn"].score(ShapePair(Shape(*box((0.84, 0.84, 0.84))), truth))
    center, radius = _sphere_of(truth)
    assert radius == pytest.approx(math.sqrt(3) * 0.45, rel=0.02)
    corner = math.sqrt(3) * 0.03 / radius  # 0.067: between 2 % and 5 % of 2.5
    assert scores["chamfer"] == pytest.approx(2 * corner**2 * 1000, rel=1e-9)
    assert (scores["precision_2"], scores["recall_2"]) == (0.0, 0.0)
    assert (scores["precision_5"], scores["recall_5"]) == (1.0, 1.0)
    # The lattice of a box is a product: along an axis, the places of the corners of its voxels.
    places = []
    for half in (0.42, 0.45):
        sides = [[int(np.rint(55 * (sign * half - center[axis]) / radius)) for sign in (-1, 1)] for axis in range(3)]
        places.append([{(5 * k + 305) // 6 for k in range(low - 1, high + 1)} for low, high in sides])
    common = math.prod(len(a & b) for a, b in zip(*places, strict=True))
    both = math.prod(len(a) for a in places[0]) + math.prod(len(b) for b in places[1]) - common
    assert scores["iou"] == pytest.approx(common / both, abs=1e-12)


def test_disn_brute_force(pair: ShapePair) -> None:
    scores = SHAPE_PROTOCOLS["disn"].score(pair)
    center, radius = _sphere_of(pair.truth)
    clouds = []
    for shape, purpose in ((pair.predicted, "disn predicted"), (pair.truth.shape, "disn truth")):
        draws = numpy_generator(0, "ball", purpose).integers(0, len(shape.vertices), 2048)
        clouds.append((shape.vertices[np.unique(shape.faces)][draws] - center) / radius)
    distances = cdist(*clouds)
    near, far = distances.min(axis=1), distances.min(axis=0)
    assert scores["chamfer"] == pytest.approx(((near**2).mean() + (far**2).mean()) * 1000, rel=1e-9)
    for percent in (1, 2, 5):
        assert scores[f"precision_{percent}"] == pytest.approx((near < percent * 0.025).mean())
        assert scores[f"recall_{percent}"] == pytest.approx((far < percent * 0.025).mean())


def test_disn_f_score_comes_from_the_averages() -> None:
    table = ScoreTable()
    table.add(Score("a", "chair", {"disn/precision_1": 1.0, "disn/recall_1": 0.0}))
    table.add(Score("b", "chair", {"disn/precision_1": 0.0, "disn/recall_1": 1.0}))
    table.add(Score("c", "sofa", {"disn/precision_1": 0.5, "disn/recall_1": 0.25}))
    assert disn_f_scores(table, "chair")["f_score_1"] == pytest.approx(0.5)  # each object's own F is 0
    assert disn_f_scores(table, "sofa")["f_score_1"] == pytest.approx(1 / 3)
    precision, recall = 0.5, 1.25 / 3
    assert disn_f_scores(table)["f_score_1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert disn_f_scores(ScoreTable()) == {}


def test_perfect_scores(same: ShapePair) -> None:
    assert SHAPE_PROTOCOLS["occnet"].score(same)["iou"] > 0.995  # the stored membership is the true ball's
    assert SHAPE_PROTOCOLS["ifnet"].score(same)["iou"] == 1.0
    assert SHAPE_PROTOCOLS["disn"].score(same)["iou"] == 1.0
    assert SHAPE_PROTOCOLS["meshrcnn"].score(same)["f1_0.1"] > 0.5
    # Two independent samples of one surface: the floor of the metric, not zero.
    assert 0 < SHAPE_PROTOCOLS["occnet"].score(same)["chamfer_l1"] < 0.005


@pytest.mark.parametrize("name", sorted(SHAPE_PROTOCOLS))
def test_same_shapes_same_scores_and_declared_metrics(name: str, pair: ShapePair) -> None:
    protocol = SHAPE_PROTOCOLS[name]
    scores = protocol.score(pair)
    assert list(scores) == list(protocol.metrics)
    assert protocol.main in protocol.metrics
    again = protocol.score(ShapePair(Shape(*sphere(INNER)), _truth()))
    assert scores == again
    other = protocol.score(ShapePair(Shape(*sphere(INNER)), _truth(seed=1)))
    assert other == pytest.approx(scores, rel=0.05, abs=1e-9)  # relative: squared distances are of the order of 0.002


@pytest.mark.parametrize("name", sorted(SHAPE_PROTOCOLS))
def test_an_empty_prediction_is_the_worst(name: str, pair: ShapePair) -> None:
    nothing = ShapePair(Shape(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), _truth())
    protocol = SHAPE_PROTOCOLS[name]
    scores, some = protocol.score(nothing), protocol.score(pair)
    assert list(scores) == list(protocol.metrics)
    for metric, spec in protocol.metrics.items():
        assert math.isfinite(scores[metric])
        if spec.higher_is_better:
            assert scores[metric] == (-1.0 if (name, metric) == ("occnet", "normal_consistency") else 0.0)
        else:
            assert scores[metric] > some[metric]
    if name == "occnet":
        assert scores["chamfer_l1"] == EMPTY_DISTANCE


def test_match_is_brute_force() -> None:
    rng = np.random.default_rng(3)
    normals = rng.normal(size=(2, 300, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    first, second = Cloud(rng.random((300, 3)), normals[0]), Cloud(rng.random((250, 3)), normals[1, :250])
    near = match(first, second)
    distances = cdist(first.points, second.points)
    np.testing.assert_allclose(np.sort(near.accuracy), np.sort(distances.min(axis=1)), atol=1e-12)
    np.testing.assert_allclose(np.sort(near.completeness), np.sort(distances.min(axis=0)), atol=1e-12)
    cosine = np.abs((first.normals * second.normals[distances.argmin(axis=1)]).sum(axis=1))
    np.testing.assert_allclose(np.sort(near.accuracy_cosine), np.sort(cosine), atol=1e-12)


def test_a_truth_is_indexed_once() -> None:
    """However many predictions it is compared with, by however many protocols."""
    truth = TargetShape("ball", Shape(*sphere(0.4)))
    pairs = [ShapePair(Shape(*sphere(radius)), truth) for radius in (0.3, 0.35)]
    first = pairs[0].near(10_000)
    index = truth.cloud(10_000).index
    second = pairs[1].near(10_000)
    assert truth.cloud(10_000).index is index
    for pair, near in zip(pairs, (first, second), strict=True):
        fresh = ShapePair(pair.predicted, TargetShape("ball", truth.shape)).near(10_000)
        assert np.array_equal(near.accuracy, fresh.accuracy)
        assert np.array_equal(near.completeness_cosine, fresh.completeness_cosine)


def test_stored_surface_is_used_where_it_suffices() -> None:
    points = np.random.default_rng(0).normal(size=(100_000, 3))
    stored = Cloud(points, points)
    truth = TargetShape("ball", Shape(*sphere(0.4)), stored)
    assert truth.surface(100_000).points is not None
    assert np.shares_memory(truth.surface(100_000).points, points)
    few = TargetShape("ball", Shape(*sphere(0.4)), stored.first(10))
    assert np.abs(np.linalg.norm(few.surface(100_000).points, axis=1) - 0.4).max() < 1e-3


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="no faces"):
        TargetShape("nothing", Shape(np.zeros((0, 3)), np.zeros((0, 3), np.int64)))
    vertices, faces = sphere(0.4, 1)
    vertices[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        Shape(vertices, faces)


def test_solid32_on_concentric_spheres(pair: ShapePair) -> None:
    scores = SHAPE_PROTOCOLS["solid32"].score(pair)
    assert scores["iou"] == pytest.approx((INNER / OUTER) ** 3, abs=0.01)
    assert scores["chamfer_l1"] == pytest.approx(GAP, rel=0.01)
    assert scores["f_score_1"] == 0.0
    assert scores["f_score_5"] == 1.0
    assert scores["normal_consistency"] == pytest.approx(1.0, abs=2e-3)


def test_solid32_looks_at_voxel_centres_of_the_unit_cube() -> None:
    """A box that reaches the middle of a voxel, and one that leaves the cube."""
    # From x = -1/64 - 1e-6, just before the centre of voxel 15.
    half = Shape(*box((1.0, 1.0, 1.0), (0.5 - 1 / 64 - 1e-6, 0, 0)))
    assert half.solid.reshape(32, 32, 32)[15:31].all()
    assert not half.solid.reshape(32, 32, 32)[:15].any()
    whole = TargetShape("cube", Shape(*box((1.0, 1.0, 1.0))))
    assert SHAPE_PROTOCOLS["solid32"].score(ShapePair(Shape(*box((2.0, 2.0, 2.0))), whole))["iou"] == 1.0


def test_solid32_of_the_truth_is_the_sampling_floor_and_misplaced_truth_fails() -> None:
    vertices, faces = box((0.9, 0.4, 0.2))
    truth = TargetShape("slab", Shape(vertices, faces))
    same = SHAPE_PROTOCOLS["solid32"].score(ShapePair(truth.shape, truth))
    assert same["iou"] == 1.0
    assert 0 < same["chamfer_l1"] < 0.003
    assert same["f_score_1"] == 1.0
    assert same["normal_consistency"] > 0.98
    turned = Shape(vertices[:, [2, 1, 0]], faces)
    halved = Shape(vertices / 2, faces)
    for wrong in (turned, halved):
        scores = SHAPE_PROTOCOLS["solid32"].score(ShapePair(wrong, truth))
        assert scores["iou"] < 0.3
        assert scores["chamfer_l1"] > 20 * same["chamfer_l1"]
        assert scores["f_score_1"] < 0.5
