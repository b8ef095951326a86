"""How well a candidate explains its image: similarity of rendered features with clutter as the alternative."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.models.dmnt.inference.candidates import Candidates
from raylift.models.dmnt.inference.config import OffsetKind
from raylift.models.dmnt.inference.evidence import Evidence
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.networks.neural_texture import NeuralTexture
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_silhouette import soft_silhouette
from raylift.rendering.uv_fragments import uv_fragments


@dataclass(frozen=True)
class Scene:
    """What candidates are compared with, and the weights of the comparison.

    Attributes:
        evidence: of the images.
        texture: features of every category's surface.
        templates: shapes of every category.
        price: what a pixel inside the outline loses if clutter explains it better, in cosine similarity.
        silhouette_weight: of the outline's term; see ``explain``.
        sigma: softness of the outline, squared half image sizes.
        offset: what moves an object off the centre.
    """

    evidence: Evidence
    texture: NeuralTexture
    templates: DeformableTemplates
    price: float
    silhouette_weight: float
    sigma: float
    offset: OffsetKind = "translation"

    def vertices(self, candidates: Candidates) -> Float[Tensor, "M V 3"]:
        """Deformed vertices, with gradients to the latent."""
        latent = self.templates.latent_at(candidates.category, candidates.latent)
        found: Tensor = self.templates(candidates.category, latent)
        return found


@dataclass(frozen=True)
class Explanation:
    """M candidates against their images.

    Attributes:
        score: sum over pixels of the gain, in cosine similarity; see ``explain``. Differentiable.
        outline: pixels whose centre the mesh covers.
        margin: o - c, rendered feature against clutter; 0 outside of the outline.
    """

    score: Float[Tensor, "M"]
    outline: Bool[Tensor, "M S S"]
    margin: Float[Tensor, "M S S"]


def explain(scene: Scene, candidates: Candidates) -> Explanation:
    """Compare rendered features with the image's.

    With o the similarity of the rendered and the seen feature, c that of the clutter, m that of the category's best
    match anywhere, P the outline and S its soft coverage::

        gain(p)  = max(o, c - price) - c                                   within the outline
        score    = sum_{p in P} gain(p) + weight * sum_p (S(p) - [p in P]) e(p)
        e(p)     = gain(p) within the outline, max(m, c - price) - c outside, both without gradient

    The first sum is NeMo's robust loss (for price 0). Its gradient moves the texture under the outline but not the
    outline, as visibility is constant. The second adds that gradient: the outline grows over pixels that look like the
    category and withdraws from those that look like clutter; for weight 1 the score is sum_p S(p) e(p).
    """
    evidence, image = scene.evidence, candidates.image
    vertices = scene.vertices(candidates)
    templates, camera = scene.templates, candidates.camera
    found = uv_fragments(vertices, templates.faces, templates.corner_uvs, camera, evidence.side)
    rendered = scene.texture.read(candidates.category, found.uv)
    clutter = evidence.clutter[image]
    margin = torch.einsum("mhwd,mdhw->mhw", rendered, evidence.features[image]) - clutter
    gain = torch.where(found.mask, margin.clamp(min=-scene.price), 0)
    score = gain.sum((1, 2))
    if scene.silhouette_weight:
        outside = (evidence.match[image, candidates.category] - clutter).clamp(min=-scene.price)
        worth = torch.where(found.mask, gain.detach(), outside)
        screen = project_to_screen(vertices, camera)
        coverage = soft_silhouette(screen, templates.faces, evidence.side, scene.sigma)
        score = score + scene.silhouette_weight * ((coverage - found.mask.to(coverage)) * worth).sum((1, 2))
    return Explanation(score, found.mask, torch.where(found.mask, margin, 0).detach())
