"""Templates: their start from training shapes, what training learns, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError, DataError
from raylift.core.examples import Examples
from raylift.core.generators import stable_hash, torch_generator
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Camera
from raylift.geometry.cameras import orbit_poses
from raylift.geometry.octahedral import octasphere
from raylift.geometry.voxels import grid_points
from raylift.models import catalogue
from raylift.models.templates.fitting import fit_latents, summarise_latents, surface_error
from raylift.models.templates.model import TemplatesModel
from raylift.models.templates.recipes import ENTRY
from raylift.networks.deformable_templates import DeformableTemplates
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_silhouette import soft_silhouette
from raylift.testing.gradients import wake
from tests.models.term_reach import Group, reach_of

CATEGORIES = ("flat", "tall")
HEIGHTS = (0.1, 0.15, 0.2, 0.25, 0.3)
NUM_POINTS = 200
IMAGE_PX = 32
SPHERE, FACES, _ = octasphere(8)


def _radii(category: int, height: float) -> torch.Tensor:
    """Ellipsoids: flat ones have their largest radius along x, tall ones along y."""
    return torch.tensor([0.45, height, 0.2] if category == 0 else [height, 0.45, 0.2])


def _points(category: int, height: float, seed: int, count: int = NUM_POINTS) -> torch.Tensor:
    directions = torch.randn(count, 3, generator=torch_generator(seed, "ellipsoid"))
    return directions / directions.norm(dim=-1, keepdim=True) * _radii(category, height)


OBJECTS = {f"{CATEGORIES[c]}-{h}": (c, h) for c in range(2) for h in HEIGHTS}


def _grid(category: int, height: float) -> torch.Tensor:
    """Not a distance, but zero on the surface, negative inside, and of about the right slope."""
    cells, radii = torch.from_numpy(grid_points(16)).float(), _radii(category, height)
    return (((cells / radii).norm(dim=-1) - 1) * radii.min()).reshape(16, 16, 16)


def _silhouettes(kinds: list[tuple[int, float]], camera: Camera) -> torch.Tensor:
    vertices = torch.stack([SPHERE * _radii(*kind) for kind in kinds])
    return soft_silhouette(project_to_screen(vertices, camera), FACES, IMAGE_PX, 1e-5)[:, None]


def _examples() -> Examples:
    return Examples(
        sdf=torch.stack([_grid(*kind) for kind in OBJECTS.values()]),
        points=torch.stack([_points(*kind, seed=1) for kind in OBJECTS.values()]),
        silhouettes=torch.zeros(0, 1, 1),
        owners=torch.zeros(0),
        bodies=torch.arange(len(OBJECTS)),
        samples={name: index for index, name in enumerate(OBJECTS)},
        ids=tuple(OBJECTS),
        categories={name: category for name, (category, _) in OBJECTS.items()},
    )


def _batch(names: list[str], seed: int, kinds: dict[str, tuple[int, float]] | None = None) -> Batch:
    chosen = [(kinds or OBJECTS)[name] for name in names]
    points = torch.stack([_points(*kind, seed=seed + index) for index, kind in enumerate(chosen)])
    camera = orbit_poses(torch.linspace(0, 300, len(names)), torch.full((len(names),), 20.0))
    fields = {
        "told_points": points,
        "voxels": torch.stack([_grid(*kind) for kind in chosen])[:, None],
        "mask": _silhouettes(chosen, camera),
        "told_colors": points + 0.5,
        "category": torch.tensor([category for category, _ in chosen]),
    }
    return Batch(
        tuple(f"{name}#0" for name in names), torch.tensor([stable_hash(name) for name in names]), fields, camera
    )


def _model(*overrides: str) -> TemplatesModel:
    recipe = catalogue.get("templates/test", ("model.templates.level=6", f"model.num_points={NUM_POINTS}", *overrides))
    model = catalogue.build_model(recipe, DatasetInfo(categories=CATEGORIES, num_objects=len(OBJECTS)))
    assert isinstance(model, TemplatesModel)
    model.keep_examples(_examples())
    return model


@pytest.fixture(scope="module")
def trained() -> TemplatesModel:
    model = _model("model.fit_steps=60")
    optimizer = torch.optim.Adam(
        [{"params": list(model.templates.parameters()), "lr": 5e-3}, {"params": [model.latents], "lr": 2e-2}]
    )
    for step in range(150):
        output = model.losses("fit", _batch(list(OBJECTS), seed=100 * step), StepInfo(step, 150), {})
        optimizer.zero_grad()
        torch.stack([term.share * term.weight for term in output.terms]).sum().backward()
        optimizer.step()
        model.after_step(StepInfo(step, 150), {})
    return model.eval()


def test_initial_templates_have_the_extents_of_their_class() -> None:
    hulls, boxes = _model().templates, _model("model.templates.kind=cuboid").templates
    for category in range(2):
        mean = _radii(category, sum(HEIGHTS) / len(HEIGHTS))
        found = (hulls.vertices[category].amax(dim=0) - hulls.vertices[category].amin(dim=0)) / 2
        torch.testing.assert_close(found, mean, atol=0.06, rtol=0)
        box = boxes.vertices[category].abs()
        torch.testing.assert_close(box.amax(dim=0), mean, atol=0.02, rtol=0)
        assert float(((box / box.amax(dim=0)).amax(dim=1) - 1).abs().max()) < 0.05  # every vertex is on a side


def test_training_fits_and_a_held_out_object_is_fitted_better_than_by_template_or_mean(trained: TemplatesModel) -> None:
    held_out = {"flat-new": (0, 0.12), "tall-new": (1, 0.28)}
    batch = _batch(list(held_out), seed=7, kinds=held_out)
    category, points = batch["category"], batch["told_points"]
    uniforms = torch.rand(2, 3000, 3, generator=torch.Generator().manual_seed(3))
    templates = trained.templates
    fresh = torch.stack([_points(*kind, seed=99, count=3000) for kind in held_out.values()])
    errors = {}
    for answer in ("template", "mean", "fit"):
        trained.config = replace(trained.config, answer=answer)  # type: ignore[arg-type]
        shapes = torch.stack([found.shape.vertices for found in trained.reconstruct(batch)])  # type: ignore[union-attr]
        errors[answer] = surface_error(shapes, templates.faces, fresh, uniforms)
    assert bool((errors["fit"] < 0.6 * errors["template"]).all()), errors
    assert bool((errors["fit"] < 0.6 * errors["mean"]).all()), errors
    # Each fit is its own: alone it is what it is in a batch.
    together = fit_latents(templates, category, points, 20, 1e-3)
    torch.testing.assert_close(
        fit_latents(templates, category[1:], points[1:], 20, 1e-3), together[1:], atol=1e-3, rtol=0
    )


def test_a_strong_prior_keeps_a_fit_at_the_mean(trained: TemplatesModel) -> None:
    batch = _batch(["flat-0.1"], seed=5)
    category = batch["category"]
    free = fit_latents(trained.templates, category, batch["told_points"], 40, 0.0)
    held = fit_latents(trained.templates, category, batch["told_points"], 40, 100.0)
    mean, factor = trained.templates.latent_mean[category], trained.templates.latent_factor[category]
    moved = [float(torch.linalg.solve(factor, (latent - mean)[..., None]).norm()) for latent in (held, free)]
    assert moved[0] < 0.2 < moved[1]


def test_a_category_s_prior_is_that_of_its_own_objects() -> None:
    templates = DeformableTemplates(_model().templates.config, CATEGORIES)
    draws = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1, 0.5, 0.1])
    latents = torch.cat([draws + 3, torch.full((3, 4), 7.0)])
    summarise_latents(templates, latents, torch.tensor([0] * 500 + [-1] * 3))
    torch.testing.assert_close(templates.latent_mean[0], draws.mean(dim=0) + 3)
    covariance = templates.latent_factor[0] @ templates.latent_factor[0].T
    torch.testing.assert_close(covariance, draws.T.cov(correction=0), atol=0.03, rtol=0.05)
    assert torch.equal(templates.latent_factor[1], torch.eye(4))  # nobody of this category: as before
    # Fewer objects than dimensions: still a factor.
    summarise_latents(templates, draws[:2], torch.zeros(2, dtype=torch.int64))
    assert bool((templates.latent_factor[0].diagonal() > 0).all())


def test_every_term_reaches_what_it_is_for() -> None:
    model = _model()
    wake(model)
    output = model.losses("fit", _batch(["flat-0.1", "tall-0.3"], seed=0), StepInfo(3, 4), {})
    groups = {"deformation": Group.of(model.templates), "latents": Group((model.latents,))}
    both = {"deformation", "latents"}
    assert reach_of(output.terms, groups) == {
        "surface": both,
        "silhouette": both,
        "outward": both,
        "smooth": both,
        "edges": both,
        "latent": {"latents"},
    }


def test_only_the_latents_of_a_batch_s_objects_are_reached() -> None:
    model = _model()
    wake(model)
    names = sorted(OBJECTS, key=stable_hash)
    output = model.losses("fit", _batch([names[2], names[5]], seed=0), StepInfo(3, 4), {})
    (slope,) = torch.autograd.grad(output.terms[0].share, model.latents)
    assert slope.abs().sum(dim=1).nonzero().flatten().tolist() == [2, 5]


def test_samples_of_no_category_are_left_out_of_training() -> None:
    model = _model()
    wake(model)
    batch = _batch(["flat-0.1", "tall-0.3"], seed=0)
    alone = model.losses("fit", batch.select(slice(0, 1)), StepInfo(3, 4), {})
    batch = replace(batch, fields={**batch.fields, "category": torch.tensor([0, -1])})
    for term, other in zip(model.losses("fit", batch, StepInfo(3, 4), {}).terms, alone.terms, strict=True):
        torch.testing.assert_close(term.share, other.share)


def test_another_run_starts_from_templates_by_the_names_of_their_categories(trained: TemplatesModel) -> None:
    recipe = catalogue.get("templates/test", ("model.templates.level=6",))
    fresh = catalogue.build_model(recipe, DatasetInfo(categories=("tall",), num_objects=3))
    fresh.load_pretrained(trained.state_dict(), "run")
    assert isinstance(fresh, TemplatesModel)
    assert torch.equal(fresh.templates.vertices[0], trained.templates.vertices[1])
    unknown = catalogue.build_model(recipe, DatasetInfo(categories=("round",), num_objects=3))
    with pytest.raises(CheckpointError, match="no template of round, only of flat, tall"):
        unknown.load_pretrained(trained.state_dict(), "run")


def test_what_cannot_work_is_refused_in_words() -> None:
    model = _model()
    with pytest.raises(DataError, match="sphere-1#0 is not one of the training objects"):
        model.losses("fit", _batch(["sphere-1"], 0, {"sphere-1": (0, 0.2)}), StepInfo(0, 4), {})
    for answer in ("fit", "mean", "template"):
        model.config = replace(model.config, answer=answer)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="numbered from 0 to 1"):
            model.reconstruct(_batch(["sphere-1"], 0, {"sphere-1": (-1, 0.2)}))
    examples = _examples()
    few = replace(examples, ids=examples.ids[:5], sdf=examples.sdf[:5], points=examples.points[:5])
    with pytest.raises(DataError, match="no training shape of category 'tall'"):
        _model().keep_examples(few)
    recipe = catalogue.get("templates/test")
    with pytest.raises(ConfigError, match="no training object"):
        catalogue.build_model(recipe)
    with pytest.raises(ConfigError, match="categories"):
        catalogue.build_model(recipe, DatasetInfo(num_objects=3, categories=("",)))
    with pytest.raises(ConfigError, match="nothing to train"):
        catalogue.get("templates/test", ("model.templates.deforms=false",))


def test_few_shapes_of_a_category_are_doubted() -> None:
    (doubt,) = _model().doubts()
    assert "flat (5), tall (5)" in doubt


@pytest.mark.parametrize("name", ENTRY.variants)
def test_every_recipe_builds(name: str) -> None:
    recipe = catalogue.get(f"templates/{name}")
    catalogue.build_model(recipe, DatasetInfo(categories=CATEGORIES, num_objects=4))
