"""Config of the templates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.core.errors import ConfigError
from raylift.networks.deformable_templates import DeformableTemplatesConfig

Answer = Literal["fit", "mean", "template"]


@dataclass(frozen=True)
class TemplatesWeights:
    """Weights of the terms; see the README's table.

    Attributes:
        surface: Chamfer distance between deformed template and object, both ways.
        silhouette: 1 - IoU of the deformed template's soft silhouette in the sample's view.
        outward: share of the surface that is inside out, by the true signed distance on both of its sides.
        smooth: squared Laplacian of the offsets.
        edges: squared change of each edge's length, relative to the mean edge.
        latent: mean square of the latent.
    """

    surface: float = 1.0
    silhouette: float = 0.1
    outward: float = 0.02
    smooth: float = 15.0
    edges: float = 0.01
    latent: float = 1e-4

    def __post_init__(self) -> None:
        if self.surface <= 0 or min(self.silhouette, self.outward, self.smooth, self.edges, self.latent) < 0:
            raise ConfigError(f"weights {self}", "use a surface weight above 0 and others of 0 or more")


@dataclass(frozen=True)
class TemplatesConfig:
    """Config of the templates.

    Attributes:
        templates: sizes of templates and deformation.
        enclosed: for hulls, fraction of the training objects' surface points within the template, at the start.
        num_points: surface points per object and step, and as many on the mesh.
        num_objects: most training objects that initial templates are made of.
        weights: weights of the terms.
        answer: shape that ``reconstruct`` returns: "fit" fits the latent to the object's surface points, "mean" is the
            category's mean latent, "template" the undeformed template.
        fit_steps: steps of a fit.
        fit_prior: weight of a fit's prior, the mean square of the latent in units of the category's spread.
        image_px: side of the silhouettes.
    """

    templates: DeformableTemplatesConfig = field(default_factory=DeformableTemplatesConfig)
    enclosed: float = 0.5
    num_points: int = 1000
    num_objects: int = 1000
    weights: TemplatesWeights = field(default_factory=TemplatesWeights)
    answer: Answer = "fit"
    fit_steps: int = 80
    fit_prior: float = 2e-4
    image_px: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.enclosed < 1:
            raise ConfigError(f"enclosed is {self.enclosed}", "use a fraction between 0 and 1; 0.5 is usual")
        if min(self.num_points, self.num_objects, self.fit_steps) < 1 or self.fit_prior < 0:
            raise ConfigError(
                f"num_points {self.num_points}, num_objects {self.num_objects}, fit_steps {self.fit_steps}, fit_prior"
                f" {self.fit_prior}",
                "use at least 1 for counts, and a prior of 0 or more",
            )
        if self.image_px < 8:
            raise ConfigError(f"image_px is {self.image_px}", "use at least 8 pixels; 64 is usual")
        if not self.templates.deforms:
            raise ConfigError(
                "model.templates.deforms is false, so there is nothing to train",
                "train the deformation, and use model.answer=template, or switch it off in the model that starts from"
                " this run",
            )
