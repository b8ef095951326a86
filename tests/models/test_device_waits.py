"""No model's step waits for its GPU, but where this table says: every model's phases, updates and refreshes are run on
a GPU that is not there (``tests.training.pretend_gpu``). A tensor left on the CPU is an error there.

The table is held in both directions: a new wait is an error, and so is a line for one that has gone.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from raylift.core.step_info import StepInfo
from raylift.models import catalogue
from raylift.testing.laws import ModelLaws
from raylift.training.metric_accumulator import MetricAccumulator
from raylift.training.parameter_groups import build_groups
from raylift.training.step import TrainingStep
from tests.models.test_laws import LAWS
from tests.training.pretend_gpu import GPU, pretend_gpu

PACKAGE = Path(catalogue.__file__).parents[1]
NUM_STEPS = 3

WAITS: dict[str, tuple[str, ...]] = {
    "dmnt": (
        # Sizes that depend on what the images show: the surface's fragments, and the pairs of quads and texels. The
        # plain version stands for the Triton kernels, which sort as many pairs as there are.
        "rendering/uv_fragments.py:uv_fragments: nonzero",
        "rendering/surface_transform/coverage.py:select: repeat_interleave",
        "rendering/surface_transform/plain.py:accepted_quads: index by a mask",
        "rendering/surface_transform/plain.py:plain_pairs: index by a mask",
        "rendering/surface_transform/plain.py:plain_pairs: repeat_interleave",
        # The texture's moving means, after the update.
        "networks/neural_texture.py:update: index by a mask",
        "networks/neural_texture.py:update_clutter: _local_scalar_dense",
        "networks/neural_texture.py:update_clutter: a copy from the host",
        "networks/neural_texture.py:update_clutter: index by a mask",
        "networks/neural_texture.py:update_clutter: nonzero",
    ),
    "image_text": (),
    "implicit": (),
    "mesh_texture": (
        # The pixels that show a face.
        "rendering/soft_blend.py:face_pixel_sums: index by a mask",
        "rendering/soft_blend.py:face_pixel_sums: nonzero",
        # Whether the template is due to be refreshed, and its refreshes, a few in a run.
        "models/mesh_texture/model.py:_refresh: _local_scalar_dense",
        "models/mesh_texture/template.py:refresh: _local_scalar_dense",
        "models/mesh_texture/template.py:refresh: index by a mask",
        "models/mesh_texture/template.py:settle_parts: index by a mask",
        "models/mesh_texture/template.py:settle_parts: index_put_ by a mask",
    ),
    "part_segmentation": (),
    "poses": (
        # Whether the mesh is painted, and the statistics of its starts.
        "models/poses/model.py:_losses: _local_scalar_dense",
        "models/poses/model.py:after_step: _local_scalar_dense",
    ),
    "recognition": (),
    "shelf": (
        # Whether images are augmented yet, and whether the probability is due to move.
        "networks/discriminators/adaptive.py:forward: _local_scalar_dense",
        "networks/discriminators/adaptive.py:update: _local_scalar_dense",
    ),
    "templates": (
        # The latents' summary at the end of an epoch, which is every step here.
        "models/templates/fitting.py:summarise_latents: _linalg_check_errors",
        "models/templates/fitting.py:summarise_latents: index by a mask",
    ),
}


def _trained(laws: ModelLaws, device: torch.device) -> tuple[Counter[str], dict[str, float]]:
    """What the second and third step wait for, and the mean losses of all three."""
    model = laws.build()
    laws.start(model)
    batch = laws.batch(model)
    with pretend_gpu(PACKAGE) as waits:
        model.to(device)
        step = TrainingStep(model, build_groups(model, laws.get_recipe().optimizers, len(batch)))
        accumulator = MetricAccumulator(device)
        for index in range(NUM_STEPS):
            if index == 1:
                waits.clear()  # constants are moved once
            step.run(batch.to(device), StepInfo(index, NUM_STEPS + 1, epoch=index), accumulator)
        found = Counter(waits)
        step.settle()
        return found, {name: value for name, value in accumulator.flush().items() if name.startswith("loss/")}


@pytest.mark.parametrize("name", LAWS)
def test_a_step_waits_for_the_gpu_only_where_the_table_says(name: str) -> None:
    found, losses = _trained(LAWS[name](), GPU)
    assert sorted(found) == sorted(WAITS[name])
    assert losses


def test_the_numbers_are_those_of_the_cpu() -> None:
    """The fused kernel of the GPU's optimizer rounds otherwise, and no more than that."""
    _, there = _trained(LAWS["implicit"](), GPU)
    _, here = _trained(LAWS["implicit"](), torch.device("cpu"))
    assert there == pytest.approx(here, rel=1e-5)
