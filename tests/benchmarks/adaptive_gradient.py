"""A sampling coordinate on a flat patch: stuck without a variance image, at its target with it (equations 26-32).

Run: ``PYTHONPATH=platform python tests/benchmarks/adaptive_gradient.py adaptive_gradient.png``. It prints how far the
coordinates end from their targets, and draws their ways.

The picture is grey but for four dots of their own colours. Four coordinates start on the grey, far from the dot whose
colour each ought to read, and are moved by nothing but the gradient of the sampled colour (equation 19). Without D_var
it is zero (equation 26). With it, I_var is trained so that the very next step leads towards the pseudo-label
(equation 31); the coordinates still move by the sampled colour's gradient alone (equations 27-30).

The third run trains I_var by the colour that is read as well, as equation 32 literally says: it then repaints the grey
where the coordinates stand, the error is gone, and most of them stay where they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from raylift.losses.adaptive_gradient import sample_at, sampling_gradient
from raylift.losses.coordinate_search import pseudo_label_loss, searched_coordinates

IMAGE_PX = 32
STEP_SIZE = 1e-2
LONGEST_STEP = 0.02
VARIANCE_RATE = 0.05
LIMIT = 2.0
COLORS = ((0.9, 0.2, 0.2), (0.2, 0.7, 0.3), (0.2, 0.3, 0.9), (0.9, 0.8, 0.2))
DOTS = ((-0.6, -0.6), (0.6, -0.6), (0.6, 0.6), (-0.6, 0.6))
STARTS = ((-0.05, 0.03), (0.02, 0.06), (-0.07, -0.1), (0.1, -0.04))


@dataclass(frozen=True)
class Search:
    """What one run did.

    Attributes:
        image: [1, 3, H, W].
        sampling_image: the image times the last variance image.
        ways: [steps + 1, 4, 2]: where the coordinates went.
        labels: [4, 2]: where they ought to be.
    """

    image: Tensor
    sampling_image: Tensor
    ways: Tensor
    labels: Tensor

    @property
    def distance_px(self) -> Tensor:
        """From each coordinate's end to its target."""
        return (self.ways[-1] - self.labels).norm(dim=-1) * IMAGE_PX / 2


def dotted_image() -> Tensor:
    """Grey, with four soft dots."""
    centers = (2 * torch.arange(IMAGE_PX, dtype=torch.float64) + 1) / IMAGE_PX - 1
    v, u = torch.meshgrid(centers, centers, indexing="ij")
    image = torch.full((3, IMAGE_PX, IMAGE_PX), 0.5, dtype=torch.float64)
    for color, (x, y) in zip(COLORS, DOTS, strict=True):
        inside = (((u - x).square() + (v - y).square()).sqrt() < 0.15).double()
        image += inside * (torch.tensor(color).double()[:, None, None] - 0.5)
    return image[None]


def search(with_variance: bool, color_weight: float = 0.0, num_steps: int = 300) -> Search:
    """Move the coordinates by the sampled colour's gradient, with or without training a variance image beside.

    Args:
        color_weight: of the colour's error (equation 32) in what trains the variance image.
    """
    image, labels = dotted_image(), torch.tensor(DOTS, dtype=torch.float64)[None]
    target = sample_at(image, labels)
    coordinates = torch.tensor(STARTS, dtype=torch.float64)[None]
    exponent = torch.zeros_like(image).requires_grad_(with_variance)
    ways = [coordinates[0].clone()]
    for _ in range(num_steps):
        variance = LIMIT ** exponent.tanh()
        if with_variance:
            aligned = pseudo_label_loss(coordinates, image, variance, labels, STEP_SIZE).sum()
            colored = (sample_at(image * variance, coordinates) - target).square().sum()
            (slope,) = torch.autograd.grad(aligned + color_weight * colored, exponent)
            with torch.no_grad():
                exponent -= VARIANCE_RATE * slope.sign()
        with torch.no_grad():
            moved = searched_coordinates(coordinates, image * LIMIT ** exponent.tanh(), target, STEP_SIZE) - coordinates
            length = moved.norm(dim=-1, keepdim=True).clamp(min=1e-30)
            coordinates = coordinates + moved * (LONGEST_STEP / length).clamp(max=1)
        ways.append(coordinates[0].clone())
    return Search(image, (image * LIMIT ** exponent.tanh()).detach(), torch.stack(ways), labels[0])


def draw(searches: dict[str, Search], path: Path) -> None:
    """One panel a run: the sampling image, ways, ends (filled) and targets (rings)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(searches), figsize=(4.2 * len(searches), 4.4), dpi=120)
    for axis, (title, found) in zip(axes, searches.items(), strict=True):
        axis.imshow(found.sampling_image[0].permute(1, 2, 0).clamp(0, 1).numpy(), extent=(-1, 1, 1, -1))
        for index, color in enumerate(COLORS):
            axis.plot(*found.ways[:, index].T.numpy(), color="black", linewidth=1)
            axis.plot(*found.labels[index].tolist(), "o", markersize=12, markerfacecolor="none", color="black")
            axis.plot(*found.ways[-1, index].tolist(), "o", color=color, markeredgecolor="black")
        axis.set_title(f"{title}\nends {float(found.distance_px.max()):.1f} px off at most")
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)


def main() -> None:
    torch.set_num_threads(1)
    searches = {
        "without D_var": search(False),
        "with D_var": search(True),
        "with D_var, by colour too": search(True, color_weight=1.0),
    }
    for title, found in searches.items():
        slope = sampling_gradient(found.sampling_image, found.ways[0][None]).abs().max()
        print(f"{title}: ends {[round(float(d), 2) for d in found.distance_px]} px from the targets;", end=" ")
        print(f"largest slope of the colour where they start: {float(slope):.3g}")
    if len(sys.argv) > 1:
        draw(searches, Path(sys.argv[1]))
        print(f"drawn to {sys.argv[1]}")


if __name__ == "__main__":
    main()
