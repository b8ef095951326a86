"""Errors of all views with all images by matrix products, against loops."""

from __future__ import annotations

import torch

from raylift.geometry.framing import FILL, box_of_points
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.pose_grid import PoseRange, pose_grid
from raylift.losses.silhouette import silhouette_iou_loss
from raylift.rendering.pose_views import cue_errors, cue_sums, framed_views, iou_errors, painted_views, seen_corners

SIDE = 12
POSES = pose_grid(PoseRange(azimuths=4, elevations=1)).quaternions


def test_iou_errors_are_equation_1_of_every_pair() -> None:
    views, masks = torch.rand(3, SIDE**2), torch.rand(5, SIDE**2)
    found = iou_errors(views, masks)
    for image in range(5):
        for view in range(3):
            pair = (part.view(1, SIDE, SIDE) for part in (views[view], masks[image]))
            torch.testing.assert_close(found[image, view], silhouette_iou_loss(*pair)[0])


def test_views_are_framed_from_every_distance() -> None:
    mesh = symmetric_icosphere(1).vertices * torch.tensor([0.5, 0.7, 1.0]) + 0.3
    screen = framed_views(mesh.expand(2, -1, -1), POSES, torch.tensor([0.0, 2.0]))
    assert screen.shape == (8, len(mesh), 3)
    box = box_of_points(screen[..., :2])
    torch.testing.assert_close(box.half, torch.full((8,), FILL))
    torch.testing.assert_close(box.center, torch.zeros(8, 2), atol=1e-6, rtol=0)
    assert float((screen[:4] - screen[4:]).abs().max()) > 1e-2
    assert float(screen[..., 2].min()) > 0


def test_cue_errors_are_mean_squares_over_the_mask() -> None:
    painted, cues, masks = torch.randn(3, 2, SIDE**2), torch.randn(4, 2, SIDE**2), torch.rand(4, SIDE**2)
    found = cue_errors(painted, cues, masks)
    for image in range(4):
        for view in range(3):
            squares = (painted[view] - cues[image]).square() * masks[image]
            torch.testing.assert_close(found[image, view], squares.sum() / (2 * masks[image].sum()))


def test_the_cue_of_one_view_is_found_again() -> None:
    """Images that are paintings of known values, each from a known pose, give the values of what they show."""
    sphere = symmetric_icosphere(1)
    screen = framed_views(sphere.vertices[None], POSES, torch.zeros(1))
    corners = seen_corners(screen, sphere.faces, 24)
    values = torch.stack([sphere.vertices[:, 1], sphere.vertices[:, 2]], dim=1)
    images = painted_views(corners, values)
    masks = corners.weight.sum(dim=2)
    total = cue_sums(corners, torch.eye(4), images, masks, len(values))
    seen = total[:, -1] > 1
    means = total[seen, :-1] / total[seen, -1:]
    assert float((means - values[seen]).abs().mean()) < 0.1
    torch.testing.assert_close(total[:, -1].sum(), masks.sum())
