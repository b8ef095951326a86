"""The implicit model: what it asks for, computes, minimises and reconstructs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Field
from raylift.models.implicit.config import (
    ConditioningConfig,
    FourierConfig,
    ImplicitConfig,
    ImplicitWeights,
    ReadsConfig,
)
from raylift.models.implicit.model import ImplicitModel
from raylift.models.implicit.network import EncodedScene
from raylift.models.implicit.readers.reader import Query
from raylift.models.implicit.view import View
from raylift.networks.point_sampling import sample_map
from raylift.networks.resnet import normalize_image
from tests.models.implicit_samples import STEP, VARIANTS, as_double, small_config, small_model, spheres


@pytest.mark.parametrize("variant", VARIANTS)
def test_request_names_what_the_losses_use(variant: str) -> None:
    config = small_config(variant)
    model, batch = small_model(config, 0), spheres(config, 2)
    request = model.request
    assert (request.image_px, request.num_points, request.num_iou_points) == (32, 40, 0)
    assert (request.voxels is None) == ("voxels" not in batch.fields)
    assert (request.depth, request.mask_distance) == ("depth" in batch.fields, "mask_distance" in batch.fields)
    for name in batch.fields:
        lacking = replace(batch, fields={key: value for key, value in batch.fields.items() if key != name})
        with pytest.raises(DataError, match=name):
            model.losses("fit", lacking, STEP, {})


def test_losses_are_equation_4_over_truncated_distances() -> None:
    config = small_config(truncation=0.05, weights=ImplicitWeights(color=0.25, sdf=4.0))
    model, batch = small_model(config, 0), spheres(config, 3)
    sdf, color = model.network.decode(model.network.encode(batch), batch["points"])
    terms = {term.name: term for term in model.losses("fit", batch, STEP, {}).terms}
    expected = functional.l1_loss(sdf, batch["sdf"].clamp(-0.05, 0.05))
    torch.testing.assert_close(terms["sdf"].share, expected)
    torch.testing.assert_close(terms["color"].share, 3 * functional.l1_loss(color, batch["color"]))
    assert (terms["sdf"].weight, terms["color"].weight) == (4.0, 0.25)


def test_reduction_before_reading_equals_the_papers_order() -> None:
    """The paper reads the maps at the points, then reduces by 1x1 convolution and ReLU; we reduce the maps first."""
    config = small_config("image")
    network = small_model(config, 0).network.double()
    batch = spheres(config, 2)
    batch = as_double(replace(batch, fields={**batch.fields, "points": 1.4 * batch["points"]}))  # some project outside
    query, maps = Query(batch.camera, batch["points"]), network.readers["maps"]
    features = maps.read(maps.encode(View(batch)), query).features
    parts = []
    scales = maps.encoder(normalize_image(batch["image"]))
    for reduce, scale, places in zip(maps.reductions, scales, maps.encoder.places, strict=True):
        at_points = sample_map(scale, places.coordinates(query.uv, config.image_px, scale.shape[-1]))
        parts.append(functional.relu(functional.linear(at_points, reduce.weight[:, :, 0, 0], reduce.bias)))
    torch.testing.assert_close(features, torch.cat(parts, -1))


def test_paper_size() -> None:
    """The paper states a 30M parameter model."""
    count = sum(p.numel() for p in ImplicitModel(ImplicitConfig(), seed=0).parameters())
    assert 25e6 < count < 32e6


def test_seed_decides_and_the_process_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    first = small_model(small_config(), 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    second, other = small_model(small_config(), 1), small_model(small_config(), 2)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert any(not torch.equal(v, other.state_dict()[n]) for n, v in first.state_dict().items())


def test_state_dict_is_the_whole_state() -> None:
    config = small_config()
    trained, fresh = small_model(config, 1).eval(), small_model(config, 2).eval()
    fresh.load_state_dict(trained.state_dict())
    batch = spheres(config, 2)
    for a, b in zip(
        trained.losses("fit", batch, STEP, {}).terms, fresh.losses("fit", batch, STEP, {}).terms, strict=True
    ):
        assert torch.equal(a.share, b.share)


@pytest.mark.parametrize("conditioning", ["image", "visible", "gt_sdf", "reads"])
def test_reconstruct_gives_fields_that_equal_the_network(conditioning: str) -> None:
    config = small_config(conditioning)
    model, batch = small_model(config, 0).eval(), spheres(config, 3)
    encoded = []
    model.network.readers["maps"].encoder.register_forward_hook(lambda *_: encoded.append(1))
    reconstructions = model.reconstruct(batch)
    with torch.no_grad():
        sdf, color = model.network.decode(model.network.encode(batch), batch["points"])
    encoded.clear()
    assert [item.id for item in reconstructions] == list(batch.ids)
    for index, item in enumerate(reconstructions):
        assert isinstance(item.shape, Field)
        assert len(item.camera) == 1
        assert torch.equal(item.camera.rotation[0], batch.camera.rotation[index])
        values, rgb = item.shape.query(batch["points"][index])
        assert not values.requires_grad
        assert not rgb.requires_grad
        torch.testing.assert_close(values, sdf[index], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(rgb, color[index], rtol=1e-5, atol=1e-6)
        assert torch.equal(item.shape.values_at(batch["points"][index]), values)
        pieces = [item.shape.query(chunk)[0] for chunk in batch["points"][index].split(7)]
        torch.testing.assert_close(torch.cat(pieces), values, rtol=1e-5, atol=1e-6)
        assert item.shape.query(torch.zeros(0, 3))[1].shape == (0, 3)
    assert not encoded, "querying a field must not run the encoders again"


def test_places_and_losses_leave_mixed_precision() -> None:
    """Ramps that bfloat16 holds exactly tell where the network reads; the embedding's phases tell of p itself."""
    config = small_config("authors")
    model, batch = small_model(config, 0), spheres(config, 2)
    ramp = torch.arange(64, dtype=torch.bfloat16)
    channels = model.network.readers["volumes"].encoder.channels
    states = {
        "maps": tuple(ramp.expand(2, config.image_features, 64, 64) for _ in range(5)),
        "volumes": tuple(ramp[:, None, None].expand(2, count, 64, 64, 64) for count in channels),
        "pixel": (ramp.expand(2, 3, 64, 64),),
    }
    given: list[Tensor] = []
    model.network.decoder.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    scene = EncodedScene(tuple(states[name] for name in model.network.readers), batch.camera)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.network.decode(scene, batch["points"])
        terms = model.losses("fit", batch, STEP, {}).terms
    exact = EncodedScene(
        tuple(tuple(part.double() for part in state) for state in scene.states), as_double(batch).camera
    )
    model.network.double().decode(exact, batch["points"].double())
    torch.testing.assert_close(given[0].double(), given[-1], rtol=0.0, atol=1e-5 * len(ramp))
    assert all(term.share.dtype == torch.float32 for term in terms)


def test_gradient_reaches_the_image_and_the_grid() -> None:
    config = small_config()
    model, batch = small_model(config, 0), spheres(config, 2)
    image, voxels = batch["image"].clone().requires_grad_(), batch["voxels"].clone().requires_grad_()
    fed = replace(batch, fields={**batch.fields, "image": image, "voxels": voxels})
    sum(term.share for term in model.losses("fit", fed, STEP, {}).terms).backward()
    assert bool(image.grad.any())
    assert bool(voxels.grad.any())


def test_batches_that_do_not_fit_are_refused() -> None:
    config = small_config()
    model, batch = small_model(config, 0), spheres(config, 2)
    with pytest.raises(DataError, match="no camera"):
        model.losses("fit", replace(batch, camera=None), STEP, {})
    coarse = replace(batch, fields={**batch.fields, "voxels": batch["voxels"][..., :8]})
    with pytest.raises(DataError, match=r"voxels are .* the recipe conditions on"):
        model.reconstruct(coarse)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImplicitConfig(truncation=0.0),
        lambda: ImplicitConfig(hidden=0),
        lambda: ImplicitConfig(voxel_stride=3),  # type: ignore[arg-type]
        lambda: ConditioningConfig(resolution=30),
        lambda: ConditioningConfig(num_points=0),
        lambda: ConditioningConfig("visible", "distance"),
        lambda: ConditioningConfig("surface", "gap"),
        lambda: ImplicitConfig(reads=ReadsConfig(neighbors=8)),
        lambda: ImplicitConfig(reads=ReadsConfig(gap=True), conditioning=ConditioningConfig("surface")),
        lambda: ImplicitConfig(reads=ReadsConfig(direction=True), conditioning=ConditioningConfig("surface")),
        lambda: ImplicitConfig(reads=ReadsConfig(nearest=True, plane=True), conditioning=ConditioningConfig("surface")),
        lambda: ImplicitConfig(reads=ReadsConfig(sides=True), conditioning=ConditioningConfig("surface")),
        lambda: ImplicitConfig(voxel_offset=-0.1),
        lambda: FourierConfig(scale=0.0),
        lambda: ImplicitWeights(sdf=-1.0),
    ],
)
def test_impossible_values_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(("conditioning", "iou", "color"), [("image", 0.75, 0.03), ("gt_sdf", 0.85, 0.03)])
def test_overfits_four_spheres(conditioning: str, iou: float, color: float) -> None:
    """Each sample is told apart by its image alone, or by its grid: IoU and colour error on points never trained on."""
    config = small_config(conditioning, points=256, hidden=64, weights=ImplicitWeights(color=3.0))
    model = small_model(config, 0)
    steps = 300
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        optimizer.zero_grad()
        terms = model.losses("fit", spheres(config, 4, points_seed=step), STEP, {}).terms
        sum(term.weight * term.share for term in terms).backward()
        optimizer.step()
        schedule.step()
    held_out = spheres(config, 4, points_seed=steps, num_iou_points=4000)
    for index, item in enumerate(model.eval().reconstruct(held_out)):
        values, rgb = item.shape.query(held_out["iou_points"][index])
        guess, inside = values < 0, held_out["iou_inside"][index] > 0.5
        score = float((guess & inside).sum() / (guess | inside).sum())
        assert score > iou
        assert float((rgb - held_out["color"][index, 0]).abs().mean()) < color


def test_the_inside_counts_as_much_more_as_the_recipe_says() -> None:
    """With every truth outside the factor changes nothing; with every truth inside the term grows by it."""
    plain, weighed = (
        small_model(small_config(weights=ImplicitWeights(sign=1.0, sign_inside=factor)), 0) for factor in (1.0, 1.6)
    )
    batch = spheres(plain.config, 2)
    for truth, factor in ((0.05, 1.0), (-0.05, 1.6)):
        told = replace(batch, fields={**batch.fields, "sdf": torch.full_like(batch["sdf"], truth)})
        shares = [
            next(term.share for term in model.losses("fit", told, STEP, {}).terms if term.name == "sign")
            for model in (plain, weighed)
        ]
        torch.testing.assert_close(shares[1], factor * shares[0])


def test_members_are_trained_each_by_its_own_prediction_and_averaged() -> None:
    config = small_config("members", weights=ImplicitWeights(sign=0.25))
    model, alone = small_model(config, 3), small_model(replace(config, members=1), 3)
    batch = spheres(config, 2)
    first, second = model.networks
    assert all(torch.equal(value, alone.network.state_dict()[name]) for name, value in first.state_dict().items())
    assert not torch.equal(first.embedding.matrix, second.embedding.matrix)
    shares = {term.name: term.share for term in model.losses("fit", batch, STEP, {}).terms}
    each = []
    for network in (first, second):
        alone.network = network
        each.append({term.name: term.share for term in alone.losses("fit", batch, STEP, {}).terms})
    for name, share in shares.items():
        assert not torch.equal(each[0][name], each[1][name])
        torch.testing.assert_close(share, (each[0][name] + each[1][name]) / 2)
    with torch.no_grad():
        decoded = [member.decode(member.encode(batch), batch["points"]) for member in (first, second)]
        sdfs, colors = zip(*decoded, strict=True)
    for index, found in enumerate(model.eval().reconstruct(batch)):
        sdf, color = found.shape.query(batch["points"][index])
        torch.testing.assert_close(sdf, (sdfs[0] + sdfs[1])[index] / 2)
        torch.testing.assert_close(color, (colors[0] + colors[1])[index] / 2)
        torch.testing.assert_close(found.shape.values(batch["points"][index]), sdf)


def test_members_share_what_no_weights_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("members")
    model, batch = small_model(config, 3), spheres(config, 2)
    read: list[str] = []
    for number, network in enumerate(model.networks):
        for name, reader in network.readers.items():
            own = reader.read
            monkeypatch.setattr(
                reader,
                "read",
                lambda state, query, of=f"{name} of {number}", own=own: read.append(of) or own(state, query),
            )
    model.losses("fit", batch, STEP, {})
    assert sorted(read) == ["gap of 0", "pixel of 0", "volumes of 0", "volumes of 1"]
    read.clear()
    model.reconstruct(batch)[0].shape.values(batch["points"][0])
    assert sorted(read) == ["gap of 0", "pixel of 0", "volumes of 0", "volumes of 1"]
