"""Terms of parts, and the votes that assign the template's vertices to parts (equations 13 and 14)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core.collectives import share_of_mean
from raylift.core.device_copies import numbers_of, upload
from raylift.core.generators import numpy_generator
from raylift.core.model import Term
from raylift.geometry.cameras import pixel_centers, project
from raylift.losses.cameras import expected_over_hypotheses
from raylift.losses.parts import by_their_largest, part_chamfer, part_probability_error
from raylift.models.mesh_texture.forward_state import ForwardState


def part_terms(state: ForwardState) -> list[Term]:
    """Equations 13 and 14 with the template's parts; 0 as long as it has none.

    Both use the template, so that they train cameras and cannot be lowered by smearing the shape over the map. Both are
    expectations over all hypotheses, so that parts help to choose among them.
    """
    weights, template, cameras = state.config.weights, state.network.template, state.decoded.cameras
    parts, every = state.batch["parts"], state.decoded.num_hypotheses
    weighs = 1.0 if template.has_parts else 0.0
    vertices = template.vertices.detach().expand(len(parts), -1, -1)
    terms = []

    def term(name: str, errors: Float[Tensor, "N ..."]) -> Term:
        expected = expected_over_hypotheses(
            errors.flatten(1).mean(dim=1).unflatten(0, (-1, every)), state.probabilities
        )
        return Term(name, share_of_mean(expected), getattr(weights, name) * weighs)

    if weights.part_chamfer:
        points, exist = part_points(
            parts, state.batch.keys, state.step_info.seed, state.step_info.step, state.config.parts.points
        )
        projected, _ = project(cameras.cameras(), vertices.repeat_interleave(every, dim=0))
        points, exist = points.repeat_interleave(every, dim=0), exist.repeat_interleave(every, dim=0)
        terms.append(term("part_chamfer", part_chamfer(projected, template.vertex_parts(), points, exist)))
    if weights.part_probability:
        view = state.network.renderer.view(vertices, cameras.cameras())
        wanted = by_their_largest(parts[:, 1:]).repeat_interleave(every, dim=0)
        rendered = view.vertices(template.vertex_probabilities())
        terms.append(term("part_probability", part_probability_error(rendered, wanted)))
    return terms


def part_points(
    parts: Float[Tensor, "B P H W"], keys: Int[Tensor, "B"], seed: int, step: int, counts: tuple[int, ...]
) -> tuple[Float[Tensor, "B Q N 2"], Bool[Tensor, "B Q N"]]:
    """P_uv: pixel centres of each part but the background, drawn by its probability, keyed by (seed, step, sample).

    Args:
        parts: part maps of images; the first is the background.
        keys: keys of the samples.
        counts: points per part; the last applies to further ones.

    Returns:
        normalised image coordinates, and which of them are valid; a part that is not visible in an image has none.
    """
    batch, number, height, width = parts.shape
    most = max(counts)
    centers = pixel_centers(height, width, parts.device, parts.dtype).reshape(-1, 2)
    index = np.zeros((batch, number - 1, most), np.int64)
    exist = np.zeros((batch, number - 1, most), bool)
    maps = parts[:, 1:].flatten(2).double().cpu().numpy()
    for sample, key in enumerate(numbers_of(keys)):
        rng = numpy_generator(seed, step, key, "part points")
        for part in range(number - 1):
            total = maps[sample, part].cumsum()
            count = counts[min(part, len(counts) - 1)]
            # Drawn whether the part shows or not, so that one part's presence moves no other part's points.
            draws = rng.random(count)
            if total[-1] > 1e-6:
                drawn = np.searchsorted(total, draws * total[-1], side="right")
                index[sample, part, :count] = drawn.clip(max=height * width - 1)
                exist[sample, part, :count] = True
    return centers[upload(torch.from_numpy(index), parts.device)], upload(torch.from_numpy(exist), parts.device)


@torch.no_grad()
def part_votes(state: ForwardState) -> Float[Tensor, "P V"]:
    """This rank's votes for each vertex: the part maps where the vertex is seen, weighted by how well they fit."""
    projected, _ = project(state.camera, state.decoded.vertices)
    read = functional.grid_sample(state.batch["parts"], projected[:, None], align_corners=False)[:, :, 0]
    fit = 1 - state.mask_errors.gather(1, state.main_hypothesis[:, None])[:, 0]
    return torch.einsum("bpv,bv,b->pv", read, state.shown_vertices(), fit)
