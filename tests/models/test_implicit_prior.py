"""Image only with shapes to look up: a planted world of boxes, in which the answer is never in the bank."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.config.optimizers import OptimizerConfig
from raylift.core.errors import ConfigError, DataError, WeightsError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.data.store.stored_view import mask_distance
from raylift.geometry.cameras import project
from raylift.geometry.voxels import grid_points
from raylift.models.implicit.config import (
    ConditioningConfig,
    ImplicitConfig,
    ImplicitWeights,
    PretrainedConfig,
    PriorConfig,
)
from raylift.models.implicit.model import ImplicitModel
from raylift.networks.point_sampling import sample_map, sample_volume
from raylift.training.parameter_groups import build_groups
from tests.models.implicit_samples import STEP, small_config, small_model, spheres
from tests.networks import boxes

CONFIG = ImplicitConfig(
    image_px=48,
    backbone="none",
    voxel_width=4,
    voxel_stride=2,
    hidden=32,
    points=128,
    sdf_range=0.1,
    conditioning=ConditioningConfig("image"),
    prior=PriorConfig(num_neighbors=4),
    weights=ImplicitWeights(sign=0.25),
)
TOLD_DEPTH = replace(
    CONFIG, conditioning=ConditioningConfig("visible", "none"), prior=PriorConfig(num_neighbors=4, depth=True)
)
NEW = torch.tensor(
    [[0.2, 0.5, 0.4], [0.5, 0.4, 0.2], [0.4, 0.2, 0.5], [0.5, 0.22, 0.22], [0.2, 0.2, 0.5], [0.4, 0.5, 0.4]]
)


def seen_boxes(sizes: Tensor, names: list[str], seed: int, num_points: int) -> Batch:
    """Boxes seen by cameras drawn for ``seed``, with points near their surfaces."""
    count, draws = len(sizes), torch.Generator().manual_seed(seed)
    cameras = boxes.cameras(count, seed)
    masks = torch.stack([boxes.coverage(size, cameras[index], 48) for index, size in enumerate(sizes)])
    points = torch.stack([boxes.surface_points(size, num_points, seed + index) for index, size in enumerate(sizes)])
    points = points + 0.05 * torch.randn(points.shape, generator=draws)
    distances = [torch.from_numpy(mask_distance((255 * mask[0]).byte().numpy())) for mask in masks]
    fields = {
        "image": 1 - 0.5 * masks.expand(-1, 3, -1, -1),
        "mask": masks,
        "mask_distance": torch.stack(distances),
        "depth": torch.stack([boxes.depth(size, cameras[index], 48) for index, size in enumerate(sizes)]),
        "points": points,
        "sdf": torch.stack([boxes.box_distance(own, size) for own, size in zip(points, sizes, strict=True)]),
        "color": torch.full((count, num_points, 3), 0.5),
    }
    return Batch(tuple(f"{name}#{seed}" for name in names), torch.arange(count), fields, cameras)


def overlap(inside: Tensor, truth: Tensor) -> float:
    return float(((inside & truth).sum(1) / (inside | truth).sum(1)).mean())


def trained(config: ImplicitConfig) -> ImplicitModel:
    """For seconds, on the boxes of the bank, which never find themselves."""
    model = ImplicitModel(config, seed=0)
    model.keep_examples(boxes.examples(resolution=32))
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    for step in range(40):
        picked = torch.randperm(len(boxes.SIZES), generator=torch.Generator().manual_seed(step))[:4]
        batch = seen_boxes(boxes.SIZES[picked], [f"box{index}" for index in picked.tolist()], step, config.points)
        batch = replace(batch, fields={name: batch[name] for name in batch.fields if _is_used(name, config)})
        optimizer.zero_grad()
        terms = model.losses("fit", batch, StepInfo(step, 40), {}).terms
        sum(term.weight * term.share for term in terms).backward()
        optimizer.step()
    return model.eval()


def _is_used(name: str, config: ImplicitConfig) -> bool:
    return name != "depth" or config.needs_depth


def carved_mean(batch: Batch, cells: Tensor, truth: Tensor, with_depth: bool) -> tuple[float, float]:
    """IoU of the constant shape at its best level, and of what the silhouette, or the depth, leaves of it."""
    mean = torch.stack([boxes.box_distance(cells, size) < 0 for size in boxes.SIZES]).float().mean(0)
    uv, z = project(batch.camera, cells.expand(len(batch), -1, -1))
    left = sample_map(batch["mask"], uv)[..., 0] > 0.5
    if with_depth:
        left &= z > sample_map(batch["depth"], uv)[..., 0] - 0.02
    levels = [mean > level for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    constant = max(overlap(level.expand_as(truth), truth) for level in levels)
    return constant, max(overlap(level & left, truth) for level in levels)


@pytest.mark.parametrize(("config", "margin"), [(CONFIG, 0.15), (TOLD_DEPTH, 0.15)], ids=["silhouette", "depth"])
def test_a_box_of_new_proportions_is_reconstructed(config: ImplicitConfig, margin: float) -> None:
    """Far better than the constant shape, and than that carved by what the network is told."""
    model = trained(config)
    held_out = seen_boxes(NEW, [f"new{index}" for index in range(len(NEW))], 1000, config.points)
    cells = torch.from_numpy(grid_points(24))
    truth = torch.stack([boxes.box_distance(cells, size) < 0 for size in NEW])
    found = model.reconstruct(held_out)
    ours = overlap(torch.stack([one.shape.query(cells)[0] < 0 for one in found]), truth)
    constant, carved = carved_mean(held_out, cells, truth, with_depth=config.needs_depth)
    assert ours > carved + margin, (ours, carved, constant)
    assert carved > constant


def test_depth_finds_what_the_silhouette_leaves_open() -> None:
    """Shapes that are looked up by the depth overlap the truth more than those looked up by the silhouette."""
    batch = seen_boxes(NEW, [f"new{index}" for index in range(len(NEW))], 1000, 50)
    cells = torch.from_numpy(grid_points(24)).expand(len(NEW), -1, -1)
    truth = torch.stack([boxes.box_distance(own, size) < 0 for own, size in zip(cells, NEW, strict=True)])
    ious = []
    for config in (CONFIG, TOLD_DEPTH):
        network = small_model(config).network
        shapes = network.encode(batch).states[list(network.readers).index("prior")][0]
        ious.append(overlap(sample_volume(shapes[:, :1], cells)[..., 0] < 0, truth))
    assert ious[1] > ious[0] + 0.03, ious


def test_the_untrained_decoder_starts_from_the_prior() -> None:
    model = small_model(replace(CONFIG, weights=ImplicitWeights()))
    batch = seen_boxes(NEW[:2], ["a", "b"], 3, 50)
    scene = model.network.encode(batch)
    sdf, _ = model.network.decode(scene, batch["points"])
    shapes = scene.states[list(model.network.readers).index("prior")][0]
    inside = sample_map(batch["mask_distance"], project(batch.camera, batch["points"])[0])[..., 0] == 0
    mean = 0.1 * sample_volume(shapes.mean(1, keepdim=True), batch["points"])[..., 0]
    assert float((sdf - mean).detach()[inside].abs().median()) < 0.01
    assert bool((sdf[~inside] >= mean[~inside] - 0.02).all())


def test_a_checkpoint_reconstructs_without_the_training_set() -> None:
    model = small_model(CONFIG).eval()
    fresh = ImplicitModel(CONFIG, seed=5).eval()
    batch = seen_boxes(NEW[:2], ["photo-a", "photo-b"], 3, 50)
    with pytest.raises(DataError, match="bank of training shapes is empty"):
        fresh.reconstruct(batch)
    fresh.load_state_dict(model.state_dict())
    for one, other in zip(model.reconstruct(batch), fresh.reconstruct(batch), strict=True):
        assert torch.equal(one.shape.query(batch["points"][0])[0], other.shape.query(batch["points"][0])[0])


def test_a_pretrained_encoder_has_a_rate_of_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from torch import nn

    from raylift.networks.trunks import build_trunk

    monkeypatch.setenv("RAYLIFT_WEIGHTS", str(tmp_path))
    torch.save(nn.ModuleList(build_trunk("torchvision:resnet18")).state_dict(), tmp_path / "resnet18-f37072fd.pth")
    learns = small_config("image", pretrained=PretrainedConfig("torchvision:resnet18", frozen=False), backbone="none")
    model = ImplicitModel(learns, seed=0)
    rates = {"default": OptimizerConfig(learning_rate=1e-2), "encoder": OptimizerConfig(learning_rate=1e-3)}
    groups = build_groups(model, rates)
    assert model.phases[0].groups == ("model", "encoder")
    assert groups["encoder"].config.learning_rate == pytest.approx(1e-3)
    assert groups["model"].config.learning_rate == pytest.approx(1e-2)
    batch = spheres(learns, 2)
    sum(term.share for term in model.losses("fit", batch, STEP, {}).terms).backward()
    assert all(
        bool(value.grad.any()) for name, value in groups["encoder"].parameters.items() if name.endswith("conv1.weight")
    )
    frozen = ImplicitModel(replace(learns, pretrained=PretrainedConfig("torchvision:resnet18")), seed=0)
    assert set(frozen.parameter_groups()) == {"model"}
    assert any("encoder" in name for name in frozen.state_dict())
    missing = ImplicitModel(replace(learns, pretrained=PretrainedConfig("mobilenet_v2")), seed=0)
    with pytest.raises(WeightsError, match="mobilenet_v2"):
        missing.losses("fit", batch, STEP, {})


def test_impossible_priors_are_refused() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        PriorConfig(temperature=0)
    with pytest.raises(ConfigError, match="num_objects"):
        PriorConfig(num_objects=1)
    with pytest.raises(ConfigError, match="are both true"):
        small_config("residual", prior=PriorConfig(num_neighbors=2))
