"""The initial template of a category, made from its training shapes."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.examples import Examples
from raylift.geometry.shrink_wrap import distances_at, shrink_wrap
from raylift.networks.deformable_templates import DeformableTemplates, as_cube


def wrap_templates(templates: DeformableTemplates, examples: Examples, enclosed: float) -> None:
    """Set the undeformed template of every category.

    Args:
        templates: whose ``vertices`` are replaced.
        examples: training objects.
        enclosed: fraction of surface points within a hull, see ``hull_template``.

    Raises:
        DataError: a category has no training object among them.
    """
    owner = torch.tensor([examples.categories[name] for name in examples.ids])
    for index, name in enumerate(templates.categories):
        own = owner == index
        if not bool(own.any()):
            raise DataError(
                f"no training shape of category {name!r} was kept to make its template of",
                "add objects to its training split, leave it out (data.categories), or raise model.num_objects",
            )
        sphere, faces, points = templates.directions.cpu(), templates.faces.cpu(), examples.points[own].float()
        if templates.config.kind == "cuboid":
            shape = cuboid_template(points, sphere)
        else:
            shape = hull_template(examples.sdf[own].float(), points, enclosed, sphere, faces)
        templates.vertices[index] = shape.to(templates.vertices)


def cuboid_template(points: Float[Tensor, "C P 3"], sphere: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
    """NeMo's box: the mean of the objects' bounding boxes."""
    low, high = points.amin(dim=1).mean(dim=0), points.amax(dim=1).mean(dim=0)
    return (low + high) / 2 + as_cube(sphere) * (high - low) / 2


def hull_template(
    grids: Float[Tensor, "C R R R"],
    points: Float[Tensor, "C P 3"],
    enclosed: float,
    sphere: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
) -> Float[Tensor, "V 3"]:
    """A sphere shrunk onto a level of the objects' mean signed distance.

    The mean has no zero level where thin parts of objects are in different places, such as table tops. So the level is
    the one that encloses a fraction of all surface points.
    """
    mean = grids.mean(dim=0)
    level = float(distances_at(mean, points.flatten(0, 1)).quantile(enclosed))
    return shrink_wrap(mean, level, sphere, faces)
