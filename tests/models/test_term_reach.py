"""Law 8 for the implicit model and every kind of mesh texture: each weighted term reaches what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raylift.core.dataset_info import DatasetInfo
from raylift.core.step_info import StepInfo
from raylift.models import catalogue
from raylift.models.implicit.config import ImplicitWeights
from raylift.models.mesh_texture.config import MeshTextureConfig
from raylift.models.mesh_texture.model import MeshTextureModel
from raylift.networks.feature_extractors import Frozen
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.gradients import wake
from tests.models.implicit_samples import STEP, small_config, small_model, spheres
from tests.models.mesh_texture_samples import FACTS, NUM_IMAGES, as_double, ellipsoids, with_poses
from tests.models.term_reach import Group, reach_of, table

ENCODER, TEMPLATE, SHAPE, FLOW, COLORS, VARIANCE = "F_e", "V_temp", "D_shape", "D_flow", "colours", "D_var"
CAMERAS, LOGITS, REGRESSED, KEYPOINTS, CRITIC = "cameras", "their probabilities", "D_cam", "keypoints", "D"
"""Of mesh texture. Cameras are those that losses are taken by: D_cam's, or the multiplex's rows. V_temp and colours are
parameters of CMR and UCMR."""

SEEN = {TEMPLATE, SHAPE, CAMERAS, LOGITS}
PICTURED = {TEMPLATE, SHAPE, FLOW, COLORS, LOGITS}
MESH_TEXTURE: dict[str, set[str]] = {
    "mask": SEEN,
    "mask_squares": SEEN,
    "outside": SEEN,
    "deform": {SHAPE},
    "laplacian": {TEMPLATE, SHAPE},
    "flat": {TEMPLATE, SHAPE},
    "orientation": {TEMPLATE, SHAPE},
    "upright": {CAMERAS, LOGITS},
    "camera_entropy": {LOGITS},
    "camera_use": {LOGITS},
    "pose": {REGRESSED},
    "anchor": {CAMERAS, LOGITS},
    "reconstruction": PICTURED,
    "perceptual": PICTURED,
    "align": {FLOW},
    "cycle": {FLOW},
    "texture_distance": {FLOW},
    "pseudo_label": {FLOW, VARIANCE},
    "searched": {SHAPE, FLOW, LOGITS},
    "part_chamfer": {CAMERAS, LOGITS},
    "part_probability": {CAMERAS, LOGITS},
    "keypoint": {TEMPLATE, SHAPE, KEYPOINTS},
    "camera": {CAMERAS},
    "assignment": {KEYPOINTS},
    "adversarial": {TEMPLATE, SHAPE, FLOW, COLORS},
    "frechet": {TEMPLATE, SHAPE, FLOW, COLORS},
}
"""The model README's table, by defaults but with pictures by all hypotheses. F_e is reached wherever something that is
decoded from it is."""
PICTURES = {"reconstruction", "perceptual", "searched"}


def declared(config: MeshTextureConfig) -> dict[str, set[str]]:
    """The table as a recipe has it."""
    table = {name: set(reached) for name, reached in MESH_TEXTURE.items()}
    for name in PICTURES:
        # UMR and CMR hold the shape fixed in pictures; UCMR, which reads no flow, lets them turn cameras.
        table[name] -= set() if config.texture.moves_shape else {TEMPLATE, SHAPE}
        table[name] |= {CAMERAS} if config.texture.moves_camera else set()
    if config.camera.kind == "keypoints":
        # CMR takes its losses by the cameras that keypoints tell, which are constants.
        table = {name: reached - (set() if name == "camera" else {CAMERAS}) for name, reached in table.items()}
    if config.critic.sees == "mask":
        table["adversarial"] -= {FLOW, COLORS}
    return table


SCHEDULE = (
    "model.terms.deform_from=0",
    "model.terms.orientation_until=100",
    "model.terms.upright_until=100",
    "model.frechet.num_real=4",
)
PARTS = ("model.parts.use=always", "model.weights.part_chamfer=1", "model.weights.part_probability=1")
COMMON = (
    "mask", "mask_squares", "outside", "deform", "flat", "laplacian", "orientation", "reconstruction", "perceptual",
    "adversarial",
)  # fmt: skip
OF_A_FLOW = tuple(f"model.weights.{term}=1" for term in ("align", "cycle", "texture_distance"))
UPRIGHT = "model.weights.upright=1"
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "single": ("umr-test.stage1", (*OF_A_FLOW, UPRIGHT)),
    "hypotheses": (
        "adaptive-test.stage2",
        (
            *(*PARTS, *OF_A_FLOW, UPRIGHT, "model.camera.pictures=all"),
            *("model.weights.camera_entropy=1", "model.weights.camera_use=1", "model.weights.frechet=1"),
        ),
    ),
    "bins": (
        "best-test.stage1",
        (*OF_A_FLOW, UPRIGHT, "model.camera.distil_steps=0", "model.camera.pictures=all"),
    ),
    "multiplex": ("ucmr-test", (*PARTS, UPRIGHT)),
    "keypoints": ("cmr-test", OF_A_FLOW),
}
"""A recipe of each kind of camera, with what it leaves out."""
README = Path(__file__).parents[2] / "platform" / "raylift" / "models"


class _Look(nn.Module):
    """A stand-in for LPIPS, whose weights need a download: one value an image."""

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return (ours - theirs).square().mean(dim=(1, 2, 3))


def mesh_texture(kind: str) -> tuple[MeshTextureModel, dict[str, Group]]:
    """A model with that kind of camera and every term that it can have, off its start, parts and keypoints known."""
    name, overrides = KINDS[kind]
    weights = [f"model.weights.{term}=1" for term in COMMON]
    recipe = catalogue.get(f"mesh_texture/{name}", [*SCHEDULE, *weights, *overrides])
    model = catalogue.build_model(recipe, FACTS).double().train()
    assert isinstance(model, MeshTextureModel)
    with_poses(model)
    model._perceptual = Frozen(_Look())
    carry = model.losses("generator", as_double(ellipsoids(NUM_IMAGES, 32)), StepInfo(0, 10), {}).carry
    model.after_step(StepInfo(0, 1, epoch=1), carry)
    wake(model)
    network = model.network
    head = network.camera.head
    is_logit = torch.zeros(len(head.bias), dtype=torch.bool).view(network.camera.num_hypotheses, -1)
    is_logit[:, -1] = True
    in_head = (head.weight, head.bias)
    regressed = Group(in_head, ~is_logit.flatten())
    groups = {
        ENCODER: Group.of(network.encoder),
        TEMPLATE: Group.of(network.template),
        SHAPE: Group.of(network.shape),
        FLOW: Group.of(*_there(network.flow)),
        COLORS: Group.of(*_there(network.colors)),
        VARIANCE: Group.of(*_there(network.variance)),
        CAMERAS: Group.of(network.multiplex) if network.multiplex else regressed,
        LOGITS: Group(in_head, is_logit.flatten()) if kind in ("hypotheses", "bins") else Group(()),
        REGRESSED: regressed if network.multiplex else Group(()),
        KEYPOINTS: Group.of(*_there(model.keypoints)),
        CRITIC: Group.of(*_there(model.critic)),
    }
    return model, {name: group for name, group in groups.items() if group.parameters}


def _there(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None else [module]


@pytest.mark.parametrize("kind", KINDS)
def test_every_term_of_mesh_texture_reaches_what_it_is_for(kind: str) -> None:
    model, groups = mesh_texture(kind)
    batch, step_info = as_double(ellipsoids(NUM_IMAGES, 32)), StepInfo(3, 10, epoch=1)
    terms = model.losses("generator", batch, step_info, {}).terms
    assert {term.name for term in terms} == {name for name, weight in vars(model.config.weights).items() if weight > 0}
    trained = {name: group for name, group in groups.items() if name != CRITIC}  # the other group's
    found = reach_of(terms, trained)
    wanted = declared(model.config)
    expected = {name: wanted[name] & set(trained) for name in found}
    from_image = {SHAPE, FLOW, COLORS, VARIANCE, REGRESSED} | (set() if kind == "multiplex" else {CAMERAS, LOGITS})
    for name, reached in expected.items():
        reached |= {ENCODER} if reached & from_image else set()
        assert reached, f"{name} trains nothing here"
    assert found == expected, table(found, trained)
    assert reach_of(model.losses("critic", batch, step_info, {}).terms, groups) == {
        name: {CRITIC} for name in ("critic_real", "critic_fake", "penalty")
    }


def test_the_readme_of_mesh_texture_has_the_table() -> None:
    columns = (TEMPLATE, SHAPE, FLOW, COLORS, VARIANCE, CAMERAS, LOGITS, REGRESSED, KEYPOINTS)
    assert table(MESH_TEXTURE, columns) in (README / "mesh_texture" / "README.md").read_text()


READERS = {"image encoder": "maps", "voxel encoder": "volumes", "prior's encoder": "prior"}
"""Of implicit: the readers that have parameters."""
IMPLICIT = {
    "sdf": {*READERS, "layers", "distance head"},
    "color": {*READERS, "layers", "colour head"},
    "sign": {*READERS, "layers", "distance head"},
}
"""The model README's table."""


@pytest.mark.parametrize(
    "variant",
    ["image", "visible", "residual", "reads", "reads-no-maps", "told", "told-no-maps", "prior", "prior-told-depth"],
)
def test_every_term_of_implicit_reaches_what_it_is_for(variant: str) -> None:
    config = small_config(variant, weights=ImplicitWeights(sign=0.25))
    model = small_model(config)
    wake(model)
    network = model.network
    decoder = network.decoder
    readers = dict(network.readers.items())
    groups = {
        **{name: Group.of(*_there(readers.get(reader))) for name, reader in READERS.items()},
        "layers": Group.of(*(getattr(decoder, f"layer{index}") for index in range(1, 6))),
        "distance head": Group.of(decoder.sdf_head),
        "colour head": Group.of(decoder.color_head),
    }
    groups = {name: group for name, group in groups.items() if group.parameters}
    assert sum(len(group.parameters) for group in groups.values()) == len(list(model.parameters()))
    found = reach_of(model.losses("fit", spheres(config, 2), STEP, {}).terms, groups)
    assert found == {name: reached & set(groups) for name, reached in IMPLICIT.items()}, table(found, groups)


def test_the_readme_of_implicit_has_the_table() -> None:
    columns = (*READERS, "layers", "distance head", "colour head")
    assert table(IMPLICIT, columns) in (README / "implicit" / "README.md").read_text()


DMNT = {"contrast": {"features", "latents"}, "latent_size": {"latents"}}
"""The model README's table."""


@pytest.mark.parametrize("reading", ["transform", "direct"])
def test_every_term_of_dmnt_reaches_what_it_is_for(reading: str) -> None:
    recipe = catalogue.get("dmnt/test", [f"model.contrast.reading={reading}"])
    model = catalogue.build_model(recipe, DatasetInfo(NUM_IMAGES, categories=CATEGORIES))
    wake(model)
    groups = {name: Group(tuple(values)) for name, values in model.parameter_groups().items()}
    output = model.losses("fit", synthetic_batch(model.request, NUM_IMAGES), STEP, {})
    found = reach_of([term for term in output.terms if term.weight], groups)
    assert found == DMNT, table(found, groups)


def test_the_readme_of_dmnt_has_the_table() -> None:
    assert table(DMNT, ("features", "latents")) in (README / "dmnt" / "README.md").read_text()


def test_every_term_of_poses_trains_the_mesh_of_its_own_start() -> None:
    """Starts compete by their objectives, so none may lean on another."""
    recipe = catalogue.get("poses/test")
    model = catalogue.build_model(recipe, DatasetInfo(NUM_IMAGES))
    (u,) = model.parameters()
    wake(model)
    found = reach_of(
        model.losses("fit", ellipsoids(NUM_IMAGES, recipe.model.image_px), StepInfo(3, 10), {}).terms,
        {f"mesh {start}": Group((u,), torch.arange(len(u)) == start) for start in range(len(u))},
    )
    assert found == {f"start_{start}": {f"mesh {start}"} for start in range(len(u))}
    assert len(found) > 1
