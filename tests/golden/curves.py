"""Short loss curves that are kept in a file: a refactor that changes no number leaves them as they are.

python -m tests.golden.curves        # record anew, after a change that is meant to change them
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from raylift.core.captions import encode_caption
from raylift.core.dataset_info import DatasetInfo
from raylift.core.generators import stable_hash, torch_generator
from raylift.core.types import GRID_HALF_EXTENT, Batch, Camera, SampleRequest
from raylift.models import catalogue
from raylift.testing.batches import CATEGORIES, rows_of, synthetic_batch, synthetic_examples
from raylift.tracking.tracker import MemoryTracker
from raylift.training.loop import BatchSource, Hooks, fit
from raylift.training.plan import FitPlan
from tests.models.mesh_texture_samples import FACTS, NUM_IMAGES, as_double, feed

FILE = Path(__file__).with_name("curves.json")
OF_IMAGES: dict[str, tuple[str, ...]] = {
    "mesh_texture/umr-test.stage1": (),
    "mesh_texture/adaptive-test.stage2": (),
    "mesh_texture/umr-test.stage2": (
        "model.parts.use=always",
        "model.weights.part_chamfer=10",
        "model.weights.part_probability=5",
        "model.parts.learn=true",
        "model.shape.refresh_every=1",
    ),
    "mesh_texture/ucmr-test": (),
    "mesh_texture/cmr-test": (),
    "shelf/test": (),
}
"""Recipes, with what a default leaves out. Every step sees all images, so keypoints, parts and moments
are known at the second."""
NAMES = tuple(dict.fromkeys((*(name for name in catalogue.names() if name.endswith("/test")), *OF_IMAGES)))
NUM_STEPS = 8
NUM_STEPS_OF_IMAGES = 2
EPOCHS_A_STEP = 6
"""The second step is past the epochs in which terms begin and end (``TermSchedule``)."""
"""After three, another CPU's rounding of the drawn weights has changed which face is the nearest at some pixel."""
NUM_BALLS = 10
BALLS = DatasetInfo(NUM_BALLS, num_objects=NUM_BALLS, categories=CATEGORIES)
KEPT = ("loss/", "gradient_norm/", "learning_rate/")


def ball(request: SampleRequest, number: int) -> Batch:
    """A coloured ball of its own size, seen from +Z: everything that the data pipeline would give, in closed form."""
    draws = torch_generator(11, "ball", number)
    radius = 0.2 + 0.25 * torch.rand((), generator=draws)
    color = torch.rand(3, generator=draws)
    side = request.image_px
    axis = (2 * torch.arange(side) + 1) / side - 1
    inside = (axis[:, None].square() + axis[None].square()).sqrt() < radius * 1.25
    image = torch.where(inside, color[:, None, None], torch.ones(3, 1, 1))
    points = (torch.rand(request.num_points, 3, generator=draws) - 0.5) * 2 * GRID_HALF_EXTENT
    fields = {
        "image": image,
        "mask": inside[None].float(),
        "points": points,
        "sdf": (points.norm(dim=1) - radius).clamp(-0.1, 0.1),
        "color": color.expand(request.num_points, 3),
    }
    if request.voxels is not None:
        resolution = request.voxels.resolution
        cells = (torch.arange(resolution) + 0.5) * 2 * GRID_HALF_EXTENT / resolution - GRID_HALF_EXTENT
        distance = torch.stack(torch.meshgrid(cells, cells, cells, indexing="ij")).norm(dim=0) - radius
        shell = (distance.abs() < 0.05).float()[None]
        painted = torch.cat([shell / shell.sum(), shell * color[:, None, None, None]])
        fields["voxels"] = painted if request.voxels.num_channels == 4 else shell
    if request.num_told_points:
        directions = torch.randn(request.num_told_points, 3, generator=draws)
        fields["told_points"] = radius * directions / directions.norm(dim=1, keepdim=True)
    if request.category:
        fields["category"] = torch.tensor(number % len(CATEGORIES))
    if request.caption:
        fields["caption"] = torch.from_numpy(encode_caption(f"a ball, number {number}"))
    name = f"ball-{number}#0"
    camera = Camera(
        focal=torch.full((1, 2), 2.75),
        principal=torch.zeros(1, 2),
        rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None],
        translation=torch.tensor([[0.0, 0.0, 2.2]]),
    )
    return Batch(
        (name,), torch.tensor([stable_hash(name)]), {key: value[None] for key, value in fields.items()}, camera
    )


def balls(request: SampleRequest, batch_size: int, start: int, stop: int) -> Iterator[Batch]:
    """Global batches of steps [start, stop)."""
    for step in range(start, stop):
        parts = [ball(request, number % NUM_BALLS) for number in range(step * batch_size, (step + 1) * batch_size)]
        yield Batch(
            ids=tuple(part.ids[0] for part in parts),
            keys=torch.cat([part.keys for part in parts]),
            fields={name: torch.cat([part[name] for part in parts]) for name in parts[0].fields},
            camera=Camera.stack([part.camera for part in parts if part.camera is not None]),
        )


def recognised_balls(request: SampleRequest, batch_size: int, start: int, stop: int) -> Iterator[Batch]:
    """The same balls with categories, backgrounds and cameras, over and over, for models that ask for them."""
    kept = synthetic_batch(request, NUM_BALLS)
    for step in range(start, stop):
        yield rows_of(kept, [(step * batch_size + row) % NUM_BALLS for row in range(batch_size)])


def curve(name: str) -> list[dict[str, float]]:
    """What a recipe logs at each of its first steps, on balls or, of image collections, on ellipsoids."""
    num_steps = NUM_STEPS_OF_IMAGES if name in OF_IMAGES else NUM_STEPS
    overrides = (*OF_IMAGES[name], f"data.batch_size={NUM_IMAGES}") if name in OF_IMAGES else ()
    recipe = catalogue.get(name, [f"schedule.num_steps={NUM_STEPS}", "schedule.log_every=1", *overrides])
    tracker = MemoryTracker()
    if name in OF_IMAGES:
        model = catalogue.build_model(recipe, FACTS).double()
        singles = feed(recipe.model.image_px, recipe.data.batch_size)
        batches: BatchSource = lambda start, stop: map(as_double, singles(start, stop))  # noqa: E731
    else:
        model = catalogue.build_model(recipe, BALLS)
        if model.example_request is not None:
            model.keep_examples(synthetic_examples(model.example_request, synthetic_batch(model.request, NUM_BALLS)))
        source = recognised_balls if model.request.supervised_camera else balls
        batches = partial(source, model.request, recipe.data.batch_size)
    fit(
        model,
        batches,
        FitPlan(
            recipe.optimizers,
            recipe.schedule,
            num_steps,
            epoch_of=lambda step: 1 + EPOCHS_A_STEP * step if name in OF_IMAGES else 0,
            seed=recipe.seed,
            batch_size=recipe.data.batch_size,
        ),
        Hooks(tracker=tracker),
    )
    return [{key: value for key, value in metrics.items() if key.startswith(KEPT)} for _, metrics in tracker.metrics]


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps({name: curve(name) for name in NAMES}, indent=1) + "\n")
    print(f"wrote {FILE}")
