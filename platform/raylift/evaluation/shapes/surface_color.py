"""Surface colour in 3D: errors of predicted colours at points of the true surface.

Rendered images judge shape and colour together. Here the colour is queried at points of the *true* surface: from a
field directly, from a mesh at its nearest vertex. Visible and hidden points are scored separately, since copying the
input is enough for the visible ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.types import Field, Mesh
from raylift.data.shapes.record import ViewRecord
from raylift.geometry.cameras import project
from raylift.geometry.point_tree import PointTree
from raylift.metrics.protocols import MetricSpec

SURFACE_COLOR_METRICS = {
    "surface_l1": MetricSpec(False),
    "visible_l1": MetricSpec(False),
    "hidden_l1": MetricSpec(False),
}
NUM_POINTS = 4000
VISIBLE_WITHIN = 0.015
"""Distance behind its pixel's surface up to which a point is visible, world units along z."""

ColorsOf = Callable[[Float[Tensor, "N 3"]], Float[Tensor, "N 3"]]


def colors_of(shape: Mesh | Field) -> ColorsOf | None:
    """A function that returns a shape's colours at points; None for a mesh without vertex colours."""
    if isinstance(shape, Field):
        field = shape
        return lambda points: field.query(points.to(field.device))[1].float().cpu()
    if shape.vertex_colors is None or shape.is_empty:
        return None
    colors, tree = shape.vertex_colors.detach().cpu().float(), PointTree(shape.vertices.detach().cpu().numpy())
    return lambda points: colors[torch.from_numpy(tree.nearest(points.numpy())[1])]


def visible_points(points: Float[Tensor, "N 3"], view: ViewRecord) -> Bool[Tensor, "N"]:
    """Which points of the true surface are visible in a stored view."""
    uv, z = project(view.camera, points[None])
    height, width = view.depth.shape
    columns = ((uv[0, :, 0] + 1) * width / 2).long()
    rows = ((uv[0, :, 1] + 1) * height / 2).long()
    within = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    seen = torch.from_numpy(view.depth)[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    return within & (seen > 0) & (z[0] <= seen + VISIBLE_WITHIN)


@torch.no_grad()
def surface_color_scores(
    ask: ColorsOf, points: Float[Tensor, "N 3"], truth: Float[Tensor, "N 3"], visible: Bool[Tensor, "N"]
) -> dict[str, float]:
    """Mean absolute errors of RGB in [0, 1] over all, visible and hidden points; empty sets are left out."""
    errors = (ask(points).clamp(0, 1) - truth).abs().mean(dim=1).double()
    parts = {"surface_l1": torch.ones_like(visible), "visible_l1": visible, "hidden_l1": ~visible}
    return {name: float(errors[which].mean()) for name, which in parts.items() if bool(which.any())}
