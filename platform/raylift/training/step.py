"""One training step: every due phase's terms, backward, the check that all is finite, clip, update, average."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raylift.core.collectives import is_distributed, world_size
from raylift.core.device_copies import upload
from raylift.core.errors import ConfigError
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, Model, Phase
from raylift.core.precision import at_least_float32
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.training.finiteness import FinitenessGuard, PhaseOutcome
from raylift.training.metric_accumulator import MetricAccumulator
from raylift.training.parameter_groups import ParameterGroup


class PhaseLoss(nn.Module):
    """What DistributedDataParallel wraps: a phase -> (this rank's total, its shares, their names, the carry)."""

    def __init__(self, model: Model, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16

    def forward(
        self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry
    ) -> tuple[Tensor, Tensor, tuple[str, ...], Carry]:
        device = batch.keys.device.type
        with torch.autocast(device, dtype=torch.bfloat16) if self.bf16 else nullcontext():
            output = self.model.losses(phase, batch, step_info, carry)
        terms = output.terms
        names = tuple(term.name for term in terms)
        if not terms or len(set(names)) != len(names):
            raise ConfigError(
                f"phase {phase!r} returned terms {list(names)}", "return at least one, each with its own name"
            )
        attached = [name for name, value in output.carry.items() if value.requires_grad]
        if attached:
            raise ConfigError(f"phase {phase!r} carries {', '.join(attached)} with a gradient", "detach it")
        # A sum in bfloat16 would lose small terms next to large ones.
        shares = torch.stack([at_least_float32(term.share) for term in terms])
        weights = upload(torch.tensor([term.weight for term in terms], dtype=shares.dtype), shares.device)
        return (weights * shares).sum(), shares.detach(), names, output.carry


class TrainingStep:
    """Runs steps of any model: it knows phases, groups and terms, but no model by name.

    Gradients of the ranks' shares add up: DistributedDataParallel averages them, so each total is multiplied by the
    world size first (law 1).

    Args:
        model: the model, already on its device.
        groups: returned by ``build_groups``.
        bf16: whether the forward pass uses bfloat16 autocast.
        late: whether the host looks a step late at whether all was finite (``training.finiteness``); by default on a
            GPU, where looking at once would leave it idle.
    """

    def __init__(
        self, model: Model, groups: dict[str, ParameterGroup], bf16: bool = False, late: bool | None = None
    ) -> None:
        self.model = model
        self.groups = groups
        self.phases = model.phases
        on_gpu = next(model.parameters()).device.type == "cuda"
        self.guard = FinitenessGuard(on_gpu if late is None else late)
        model.train()
        self._loss: nn.Module = PhaseLoss(model, bf16)
        if is_distributed():
            check_normalisation(model)
            # If a phase trains only some groups, or a step only part of one, the other parameters have no gradients in
            # the graph, and DDP must search for them.
            # Buffers are the same on every rank by contract (after_step), so they need no broadcast.
            self._loss = DistributedDataParallel(
                self._loss,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=len(self.phases) > 1 or model.leaves_parameters_out,
            )

    def run(self, batch: Batch, step_info: StepInfo, accumulator: MetricAccumulator) -> None:
        """One optimizer step on this rank's part of the global batch.

        Raises:
            NonFiniteError: a term or a gradient is not finite, on any rank; nothing of that phase has been updated.
                On a GPU it is raised a step late, or by ``settle``.
        """
        carry: dict[str, Tensor] = {}
        for phase in self.phases:
            if phase.every == 1 or step_info.step % phase.every == 0:
                carry |= self._run_phase(phase, batch, step_info, carry, accumulator)
        with torch.no_grad():
            self.model.after_step(step_info, carry)
        # After this step's work is queued: the device never waits for the host.
        self.guard.settle(before_step=step_info.step)

    def settle(self) -> None:
        """Look at what no step has looked at yet, before anything is logged, evaluated or committed.

        Raises:
            NonFiniteError: as in ``run``.
        """
        self.guard.settle()

    def _run_phase(
        self, phase: Phase, batch: Batch, step_info: StepInfo, carry: Carry, accumulator: MetricAccumulator
    ) -> Carry:
        trained = [self.groups[name] for name in phase.groups]
        for name, group in self.groups.items():
            group.require_gradients(name in phase.groups)
            group.clear_gradients()
        # Draws of layers that know no keys, such as dropout, still follow from the step alone (law 4).
        torch.manual_seed(stable_hash(step_info.seed, step_info.step, phase.name))
        total, shares, names, handed_on = self._loss(phase.name, batch, step_info, carry)
        (total * world_size()).backward()
        each = {group.name: group.gradient_norms() for group in trained}
        norms = [group.gradient_norm(each[group.name]) for group in trained]
        counts = self.guard.judge(PhaseOutcome(phase, batch, step_info, shares, names, each), norms)
        for group, norm in zip(trained, norms, strict=True):
            rate = group.update(norm, step_info.step, step_info.num_steps, counts)
            accumulator.add_same(f"gradient_norm/{group.name}", norm)
            accumulator.add_same(f"learning_rate/{group.name}", rate)
        for name, share in zip(names, shares.unbind(), strict=True):
            accumulator.add_share(f"loss/{name}", share, phase.name)
        # The first phase's total has one name in every model, so that a server's own comparison finds it.
        suffix = "" if phase.name == self.phases[0].name else f"_{phase.name}"
        accumulator.add_share(f"loss/total{suffix}", total, phase.name)
        return dict(handed_on)


def check_normalisation(model: nn.Module) -> None:
    """Refuse batch norm that would see only each rank's own part of the batch (law 1).

    Raises:
        ConfigError: a batch norm in training mode that is not synchronised.
    """
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.modules.batchnorm._BatchNorm)
            and not isinstance(module, nn.SyncBatchNorm)
            and module.training
        ):
            raise ConfigError(
                f"{name} is a batch norm over each worker's own samples, so results depend on the number of workers",
                "freeze it, or use torch.nn.SyncBatchNorm or a norm that does not mix samples",
            )
