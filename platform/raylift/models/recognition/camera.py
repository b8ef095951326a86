"""The camera of a recognised object: its rotation from the pose head, its distance and offset from the object's box.

An object whose longest edge is 1 has, at distance z and with focal length f, a box of half size about e f / z. The
extent e depends on the category and, less, on the pose: its training mean gives the distance, and the box's centre the
offset. The pose head predicts neither, as equation 6 of DMNT's appendix has no term for them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.collectives import global_sum
from raylift.core.errors import DataError
from raylift.core.model import Carry
from raylift.core.types import Camera
from raylift.geometry.framing import Box, box_of_mask

START_EXTENT = 0.4
START_FOCAL = 2.3
"""Before the first step: about those of an upright view with 47 degrees."""
CARRIED = ("extent_sum", "extent_count", "lens_sum", "lens_count")


class CameraPrior(nn.Module):
    """Running means over all training samples: each category's extent, and the lens.

    Attributes:
        extent: half size of the box at distance 1 and focal length 1, world units.
        extent_count: samples in each mean.
        lens: focal length (x, y) and principal point (x, y), in half image sizes.
        lens_count: samples in that mean.
    """

    extent: Tensor
    extent_count: Tensor
    lens: Tensor
    lens_count: Tensor

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.register_buffer("extent", torch.full((num_categories,), START_EXTENT))
        self.register_buffer("extent_count", torch.zeros(num_categories))
        self.register_buffer("lens", torch.tensor([START_FOCAL, START_FOCAL, 0.0, 0.0]))
        self.register_buffer("lens_count", torch.zeros(()))

    @torch.no_grad()
    def observed(
        self, camera: Camera, amodal: Float[Tensor, "B 1 H W"], category: Int[Tensor, "B"]
    ) -> dict[str, Tensor]:
        """Sums and counts of this rank's samples, for ``update``; samples of no category count for the lens only.

        Raises:
            DataError: an orthographic camera, which has no distance.
        """
        if camera.projection != "perspective":
            raise DataError("the cameras are orthographic, so objects have no distance", "use perspective images")
        box = box_of_mask(amodal[:, 0])
        extent = box.half * camera.translation[:, 2] / camera.focal.mean(dim=1)
        known = category >= 0
        where = torch.nn.functional.one_hot(category.clamp(min=0), len(self.extent)).to(self.extent) * known[:, None]
        return {
            "extent_sum": (where * extent[:, None].to(where)).sum(0),
            "extent_count": where.sum(0),
            "lens_sum": torch.cat([camera.focal, camera.principal], dim=1).sum(0).to(self.lens),
            "lens_count": self.lens.new_full((), len(category)),
        }

    @torch.no_grad()
    def update(self, carry: Carry) -> None:
        """Add one step's samples of all ranks to the means."""
        sums = {name: global_sum(carry[name]) for name in CARRIED}
        self.extent_count += sums["extent_count"]
        self.extent += (sums["extent_sum"] - sums["extent_count"] * self.extent) / self.extent_count.clamp(min=1)
        self.lens_count += sums["lens_count"]
        self.lens += (sums["lens_sum"] - sums["lens_count"] * self.lens) / self.lens_count.clamp(min=1)

    def camera(self, rotation: Float[Tensor, "B 3 3"], box: Box, category: Int[Tensor, "B"]) -> Camera:
        """The camera of that rotation by which an object of that category has about that box."""
        focal, principal = self.lens[:2].expand(len(rotation), 2), self.lens[2:].expand(len(rotation), 2)
        depth = self.extent[category] * focal.mean(dim=1) / box.half
        shift = (box.center.to(focal) - principal) / focal * depth[:, None]
        return Camera(focal, principal, rotation, torch.cat([shift, depth[:, None]], dim=1))
