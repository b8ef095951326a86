"""Law 1 for conditionings and terms beyond a model's smallest recipe: 2 and 4 ranks have the loss and gradients of one.

A new variant adds its cases to ``CASES``: a name that ``build`` turns into a float64 model and a global batch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raylift.core.captions import encode_caption
from raylift.core.collectives import rank, world_size
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.models import catalogue
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.gradients import wake
from raylift.testing.ranks import run_ranks
from tests.models import mesh_texture_samples
from tests.models.implicit_samples import STEP, VARIANTS, as_double, small_config, small_model, spheres
from tests.models.mesh_texture_samples import FACTS, NUM_IMAGES

PARTS = ("model.parts.use=always", "model.weights.part_chamfer=1", "model.weights.part_probability=1")
GLOBAL_BATCH = 6  # over 4 ranks: 1, 2, 1, 2 samples
MESH_TEXTURE = {
    "umr-test.stage1": PARTS,
    "umr-test.stage1 by learned views": ("model.views.source=learned",),
    "umr-test.stage2": (*PARTS, "model.camera.pictures=all", "model.weights.camera_use=0.1"),
    "umr-test.stage2 by drawn cameras": ("model.camera.pictures=drawn", "model.weights.mask_squares=1"),
    "adaptive-test.stage2": (),
    "ucmr-test": ("model.terms.shape_from=0", "model.terms.texture_from=0"),
    "cmr-test": (),
    "best-test.stage1": ("model.camera.distil_steps=0",),
}
"""Recipes, perhaps with a remark behind them, each with overrides that add what it leaves out."""
CAPTIONS = ("model.weights.caption=1", "model.weights.image_similarity=1", "model.captions.towers=random")
SHELF = {
    "captions, poses and augmentation": (
        *(*CAPTIONS, "model.captions.form=contrastive", "model.weights.anchor=1", "model.critic.sees=random"),
        *("model.critic.trains=both", "model.critic.augmentation.initial=0.5"),
    ),
    "tri-plane by searched cameras": (
        *("model.weights.anchor=1", "model.camera.trained_by=searched", "model.volume.representation=triplane"),
        *("model.volume.geometry=sdf", "model.critic.kind=residual"),
    ),
    "equivariant by two angles": ("model.volume.group=c4v", "model.camera.kind=angles", "model.weights.camera_use=0"),
}
"""Of ``shelf/test``."""
DMNT = {
    "direct reading": ("model.contrast.reading=direct",),
    "pasted occluders": ("model.augmentation.paste.probability=0.8",),
    "without clutter": ("model.contrast.weights.background=0", "model.texture.num_clutter=0"),
}
"""Of ``dmnt/test``."""
CASES = [
    *(f"dmnt/{name}" for name in DMNT),
    *(f"implicit/{name}" for name in VARIANTS),
    *(f"mesh_texture/{name}" for name in MESH_TEXTURE),
    *(f"shelf/{name}" for name in SHELF),
    "poses/test",
]
"""What the laws of ``tests/models/test_laws.py`` do not see: they take the smallest recipe of each model."""
Result = dict[str, dict[str, Tensor]]


def build(case: str) -> tuple[Model, Batch]:
    """A model and a global batch, the same in every process."""
    name, _, variant = case.partition("/")
    if name == "mesh_texture":
        return _mesh_texture(variant)
    if name == "shelf":
        return _shelf(variant)
    if name == "poses":
        return _pose_search()
    if name == "dmnt":
        return _dmnt(variant)
    config = small_config(variant)
    return small_model(config).double().train(), as_double(spheres(config, GLOBAL_BATCH))


def _mesh_texture(variant: str) -> tuple[Model, Batch]:
    """Off its start, where some gradients are zero, with parts and keypoints found, so that every term counts."""
    recipe = catalogue.get(
        f"mesh_texture/{variant.partition(' ')[0]}",
        [*MESH_TEXTURE[variant], "model.terms.deform_from=0", "model.weights.outside=1"],
    )
    model = mesh_texture_samples.with_poses(catalogue.build_model(recipe, FACTS).double().train())
    batch = mesh_texture_samples.as_double(mesh_texture_samples.ellipsoids(NUM_IMAGES, 32))
    # Every rank shows the whole set here: features repeat and votes are shares, so all ranks end where one does.
    carry = model.losses("generator", batch, STEP, {}).carry
    model.after_step(StepInfo(0, 1, epoch=1), carry)
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype)
    return model, batch.select(slice(0, GLOBAL_BATCH))


def _shelf(variant: str) -> tuple[Model, Batch]:
    model = catalogue.build_model(catalogue.get("shelf/test", SHELF[variant]), FACTS).double().train()
    mesh_texture_samples.with_poses(model)
    batch = mesh_texture_samples.as_double(mesh_texture_samples.ellipsoids(NUM_IMAGES, 32))
    captions = [encode_caption("" if index == 1 else f"an ellipsoid {index % 3}") for index in range(NUM_IMAGES)]
    fields = {**batch.fields, "caption": torch.from_numpy(np.stack(captions))}
    return model, replace(batch, fields=fields).select(slice(0, GLOBAL_BATCH))


def _dmnt(variant: str) -> tuple[Model, Batch]:
    """With banks that have seen the batch, so that other surfaces count."""
    info = DatasetInfo(GLOBAL_BATCH, categories=CATEGORIES)
    model = catalogue.build_model(catalogue.get("dmnt/test", DMNT[variant]), info).double().train()
    wake(model)
    batch = synthetic_batch(model.request, GLOBAL_BATCH, dtype=torch.float64)
    part = slice(rank() * GLOBAL_BATCH // world_size(), (rank() + 1) * GLOBAL_BATCH // world_size())
    model.after_step(STEP, model.losses("fit", batch.select(part), STEP, {}).carry)
    return model, batch


def _pose_search() -> tuple[Model, Batch]:
    """With a painted cue and azimuths that are pulled."""
    model = catalogue.build_model(catalogue.get("poses/test", ["model.cue_from=0.0"]), FACTS).double().train()
    batch = mesh_texture_samples.as_double(mesh_texture_samples.ellipsoids(NUM_IMAGES, 32))
    part = slice(rank() * NUM_IMAGES // world_size(), (rank() + 1) * NUM_IMAGES // world_size())
    carry = model.losses("fit", batch.select(part), STEP, {}).carry
    model.after_step(STEP, carry)
    return model, batch.select(slice(0, GLOBAL_BATCH))


class _PhaseLoss(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        terms = self.model.losses(phase, batch, STEP, {}).terms
        return {term.name: term.share for term in terms} | {"total": sum(term.weight * term.share for term in terms)}  # type: ignore[dict-item]


def shares_and_gradients(cases: list[str]) -> dict[str, Result]:
    """This rank's shares, and the gradients that DistributedDataParallel leaves on it, by case and phase."""
    results: dict[str, Result] = {}
    for case in cases:
        model, batch = build(case)
        part = slice(rank() * GLOBAL_BATCH // world_size(), (rank() + 1) * GLOBAL_BATCH // world_size())
        module: nn.Module = _PhaseLoss(model)
        if world_size() > 1:
            module = DistributedDataParallel(module, find_unused_parameters=len(model.phases) > 1)
        results[case] = {}
        for phase in model.phases:
            model.zero_grad()
            shares = module(phase.name, batch.select(part))
            (shares["total"] * world_size()).backward()
            gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            results[case][phase.name] = gradients | {f"share/{name}": s.detach() for name, s in shares.items()}
    return results


@pytest.fixture(scope="module")
def one_rank() -> dict[str, Result]:
    return shares_and_gradients(CASES)


@cache
def on_ranks(world: int) -> list[tuple[dict[str, Result], dict[str, dict[str, Tensor]]]]:
    """What the tests of several ranks compare, by one start of the ranks."""
    return run_ranks(world, on_rank, world == 2)


def on_rank(keeps: bool) -> tuple[dict[str, Result], dict[str, dict[str, Tensor]]]:
    return shares_and_gradients(CASES), kept_state(list(MESH_TEXTURE)) if keeps else {}


@pytest.mark.parametrize("world", [2, 4])
def test_many_ranks_equal_one(world: int, one_rank: dict[str, Result]) -> None:
    ranks = [gradients for gradients, _ in on_ranks(world)]
    for case, phases in one_rank.items():
        for phase, alone in phases.items():
            for name, expected in alone.items():
                values = [result[case][phase][name] for result in ranks]
                got = torch.stack(values).sum(0) if name.startswith("share/") else values[0]
                scale = float(expected.abs().max()) or 1.0
                torch.testing.assert_close(
                    got, expected, rtol=0, atol=1e-10 * scale, msg=lambda m, n=name, c=case: f"{c} {n}: {m}"
                )
                if not name.startswith("share/"):
                    assert all(torch.equal(value, got) for value in values), f"{case} {name} differs between ranks"


def test_every_parameter_is_trained(one_rank: dict[str, Result]) -> None:
    for case in CASES:
        model, _ = build(case)
        trained = {name for gradients in one_rank[case].values() for name, g in gradients.items() if bool(g.any())}
        # A part of another run, such as templates, is not trained here.
        own = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert own <= trained, case


def state_after_steps(names: list[str]) -> dict[str, dict[str, Tensor]]:
    """What is not trained by gradient, after three steps of this rank's parts: templates, banks, tables, moments."""
    states = {}
    for name in names:
        refreshed = () if "cmr" in name else ("model.shape.refresh_every=1",)  # CMR and UCMR train their templates
        overrides = (*MESH_TEXTURE[name], *refreshed)
        recipe = catalogue.get(f"mesh_texture/{name.partition(' ')[0]}", overrides)
        model = catalogue.build_model(recipe, FACTS).double().train()
        mesh_texture_samples.with_poses(model)
        batch = mesh_texture_samples.as_double(mesh_texture_samples.ellipsoids(NUM_IMAGES, 32))
        part = slice(rank() * NUM_IMAGES // world_size(), (rank() + 1) * NUM_IMAGES // world_size())
        for epoch in range(3):
            with torch.no_grad():
                carry = model.losses("generator", batch.select(part), StepInfo(epoch, 9, epoch), {}).carry
                model.after_step(StepInfo(epoch, 9, epoch), carry)
        states[name] = {key: value.double() for key, value in model.state_dict().items()}
    return states


def searched_state() -> dict[str, Tensor]:
    """All that a pose search keeps after a whole run of this rank's parts."""
    model = catalogue.build_model(catalogue.get("poses/test", ["model.cue_from=0.0"]), FACTS).double().train()
    batch = mesh_texture_samples.as_double(mesh_texture_samples.ellipsoids(NUM_IMAGES, 32))
    part = slice(rank() * NUM_IMAGES // world_size(), (rank() + 1) * NUM_IMAGES // world_size())
    for step in range(6):
        with torch.no_grad():
            carry = model.losses("fit", batch.select(part), StepInfo(step, 6), {}).carry
            model.after_step(StepInfo(step, 6), carry)
    return {key: value.double() for key, value in model.state_dict().items()}


def kept_state(names: list[str]) -> dict[str, dict[str, Tensor]]:
    return {**state_after_steps(names), "poses": searched_state()}


def test_what_is_refreshed_is_the_same_on_any_number_of_ranks() -> None:
    alone = kept_state(list(MESH_TEXTURE))
    for _, result in on_ranks(2):
        for name, state in alone.items():
            for key, expected in state.items():
                torch.testing.assert_close(
                    result[name][key], expected, rtol=1e-9, atol=1e-11, msg=lambda m, n=name, k=key: f"{n} {k}: {m}"
                )
