"""What a few steps of a model give on this rank: shares, gradients, refreshed state, and what each term reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raylift.config.optimizers import DEFAULT_GROUP, OptimizerConfig
from raylift.core.collectives import gather_objects, is_distributed, rank, world_size
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, Model, Phase
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.training.parameter_groups import build_groups
from raylift.training.step import PhaseLoss, check_normalisation

Measured = dict[str, Tensor]
"""By ``step 0/PHASE/share/TERM``, ``step 0/PHASE/gradient/PARAMETER`` and ``step 0/state/BUFFER``."""

SHARE, GRADIENT, STATE = "/share/", "/gradient/", "/state/"
TOLERANCE = 1e-9
"""Relative, in float64: sums in another order differ by 1e-15 times what cancels in them."""


def wake(model: nn.Module, seed: int = 5, std: float = 0.02) -> None:
    """Move every parameter a little: decoders that start at zero hide what lies before them."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(std * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype))


def measured_steps(model: Model, batch: Batch, moments: Sequence[StepInfo]) -> Measured:
    """Steps without an update on this rank's part of a global batch, by what the training step wraps and sums.

    Args:
        batch: the global one; ranks take consecutive parts of it, which may differ in size.
        moments: of each step.

    Raises:
        AssertionError: ranks were given different batches.
    """
    loss: nn.Module = PhaseLoss(model, bf16=False)
    check_normalisation(model)
    if is_distributed():
        unused = len(model.phases) > 1 or model.leaves_parameters_out
        loss = DistributedDataParallel(loss, broadcast_buffers=False, find_unused_parameters=unused)
    assert len(set(gather_objects(batch.ids))) == 1, (
        "batch() must give the global batch on every rank, the same on each"
    )
    part = batch.select(slice(rank() * len(batch) // world_size(), (rank() + 1) * len(batch) // world_size()))
    found: Measured = {}

    def look(phase: Phase, moment: StepInfo, carry: Carry) -> Carry:
        total, shares, names, handed_on = loss(phase.name, part, moment, carry)
        (total * world_size()).backward()
        where = f"step {moment.step}/{phase.name}"
        found.update({f"{where}{SHARE}{name}": share for name, share in zip(names, shares.unbind(), strict=True)})
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                found[f"{where}{GRADIENT}{name}"] = parameter.grad.detach().clone()
        return dict(handed_on)

    for moment in _walk(model, moments, look):
        state = {name: value.detach().clone() for name, value in model.named_buffers()}
        found.update({f"step {moment.step}{STATE}{name}": value for name, value in state.items()})
    return found


def differences(alone: Measured, ranks: Sequence[Measured]) -> list[str]:
    """How several ranks differ from one, a sentence each: shares must add up, all else must be the same on each."""
    told = []
    # Beside the largest gradient of its phase, what is zero up to rounding is zero.
    largest: dict[str, float] = {}
    for name, value in alone.items():
        largest[_kind(name)] = max(largest.get(_kind(name), 0.0), _magnitude(value))
    for name, expected in alone.items():
        if any(name not in one for one in ranks):
            told.append(f"{name} is not on every one of {len(ranks)} ranks")
            continue
        values = [one[name] for one in ranks]
        if SHARE in name:
            values = [torch.stack(values).sum(0)]
        allowed = TOLERANCE * (_magnitude(expected) + 1e-3 * max(1e-3, largest[_kind(name)]))
        off = max(_distance(value, expected) for value in values)
        if not off <= allowed:
            told.append(f"{name}: {len(ranks)} ranks differ from one by {off:.3g}, of {_magnitude(expected):.3g}")
    told += [f"{name} is there on {len(ranks)} ranks and not on one" for name in ranks[0] if name not in alone]
    return told


def parameters_reached(model: Model, batch: Batch, moments: Sequence[StepInfo]) -> dict[str, list[set[str]]]:
    """The parameters on which each weighted term has a gradient, a set for each of the steps in which it is there.

    As in training, only the groups of a term's own phase have gradients.

    Args:
        batch: the global one.

    Returns:
        By ``PHASE/TERM``.

    Raises:
        AssertionError: a term is not finite: it would train everything or nothing.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    reached: dict[str, list[set[str]]] = {}

    def look(phase: Phase, moment: StepInfo, carry: Carry) -> Carry:
        output = model.losses(phase.name, batch, moment, carry)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for term in output.terms:
            where = f"{phase.name}/{term.name}"
            assert bool(torch.isfinite(term.share)), f"{where} is {float(term.share)} at step {moment.step}"
            if term.weight != 0:
                reached.setdefault(where, []).append({names[id(one)] for one in _touched(term.share, trained)})
        return output.carry

    for _ in _walk(model, moments, look):
        pass
    return reached


def attached_carries(model: Model, batch: Batch, moments: Sequence[StepInfo]) -> list[str]:
    """What phases carry with its graph, as ``step 0/PHASE/NAME``."""
    attached = []

    def look(phase: Phase, moment: StepInfo, carry: Carry) -> Carry:
        handed_on = model.losses(phase.name, batch, moment, carry).carry
        for name, value in handed_on.items():
            if value.requires_grad:
                attached.append(f"step {moment.step}/{phase.name}/{name}")
        return {name: value.detach() for name, value in handed_on.items()}

    for _ in _walk(model, moments, look):
        pass
    return attached


def _walk(
    model: Model, moments: Sequence[StepInfo], look: Callable[[Phase, StepInfo, Carry], Mapping[str, Tensor]]
) -> Iterator[StepInfo]:
    """Every due phase of every step, as the training step runs it, without an update; gives a step when it is over."""
    groups = build_groups(model, {DEFAULT_GROUP: OptimizerConfig()})
    for moment in moments:
        carry: dict[str, Tensor] = {}
        for phase in model.phases:
            if moment.step % phase.every:
                continue
            for name, group in groups.items():
                group.require_gradients(name in phase.groups)
                group.clear_gradients()
            torch.manual_seed(stable_hash(moment.seed, moment.step, phase.name))
            carry |= look(phase, moment, carry)
        with torch.no_grad():
            model.after_step(moment, carry)
        yield moment


def _touched(share: Tensor, parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    if not share.requires_grad:
        return []
    slopes = torch.autograd.grad(share, parameters, retain_graph=True, allow_unused=True)
    return [one for one, slope in zip(parameters, slopes, strict=True) if slope is not None and bool(slope.any())]


def _kind(name: str) -> str:
    """What a value is compared in size with: all gradients of its phase, or itself."""
    return name.partition(GRADIENT)[0] if GRADIENT in name else name


def _magnitude(value: Tensor) -> float:
    return float(value.double().abs().max()) if value.numel() else 0.0


def _distance(value: Tensor, expected: Tensor) -> float:
    """The largest difference; infinite where shapes or what is infinite differ."""
    if value.shape != expected.shape:
        return float("inf")
    gap = (value.double() - expected.double()).abs()
    return _magnitude(torch.where(value == expected, 0.0, gap.nan_to_num(nan=float("inf"), posinf=float("inf"))))
