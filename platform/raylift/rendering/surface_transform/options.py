"""Which quads of pixels count as pieces of the surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class TransformOptions:
    """Rules for quads, which must be strictly convex in the chart with all four pixels on the object.

    Attributes:
        max_side: longest side of a quad's bounding box in the chart, in sides of the chart. Longer ones cross a seam or
            join two surfaces. (The appendix's 0.2 names neither side nor area.)
        max_depth_step: largest difference of depth among a quad's corners, in world units: a larger one is a gap
            between two surfaces. The object is 1 across.
        chart: "octahedral" also leaves out quads with corners in two of the chart's four outer triangles, which only
            meet across its border: near the middle of a border, quads across the seam are short. "plain" does not.
        max_quads: number of quads that each texel takes, those of the lowest index; None takes all. (The appendix
            keeps 10.)
    """

    max_side: float = 0.2
    max_depth_step: float = 0.2
    chart: Literal["octahedral", "plain"] = "octahedral"
    max_quads: int | None = None

    def __post_init__(self) -> None:
        if not (self.max_side > 0 and self.max_depth_step > 0) or math.isnan(self.max_side + self.max_depth_step):
            raise ConfigError(
                f"max_side is {self.max_side}, max_depth_step {self.max_depth_step}", "use values above 0, such as 0.2"
            )
        if self.chart not in ("octahedral", "plain"):
            raise ConfigError(f"chart is {self.chart!r}", 'use "octahedral" or "plain"')
        if self.max_quads is not None and self.max_quads < 1:
            raise ConfigError(f"max_quads is {self.max_quads}", "use at least 1, or None for all")
