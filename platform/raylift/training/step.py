"""One training step: every due phase's terms, backward, the check that all is finite, clip, update, average."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from raylift.core.clock import Clock
from raylift.core.collectives import gather_objects, global_max, is_distributed, world_size
from raylift.core.errors import ConfigError, NonFiniteError
from raylift.core.generators import stable_hash
from raylift.core.model import Model, Phase
from raylift.core.types import Batch
from raylift.training.ledger import Ledger
from raylift.training.players import Player

NAMES_SHOWN = 16


class PhaseLoss(nn.Module):
    """What DistributedDataParallel wraps: (phase, batch, clock) -> (this rank's total, its shares, their names)."""

    def __init__(self, model: Model, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16

    def forward(self, phase: str, batch: Batch, clock: Clock) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        device = batch.keys.device.type
        with torch.autocast(device, dtype=torch.bfloat16) if self.bf16 else nullcontext():
            terms = self.model.losses(phase, batch, clock)
        names = tuple(term.name for term in terms)
        if not terms or len(set(names)) != len(names):
            raise ConfigError(f"phase {phase!r} gave terms {list(names)}", "give at least one, each with its own name")
        # A sum in bfloat16 would lose small terms beside large ones.
        shares = torch.stack([_at_least_float32(term.share) for term in terms])
        weights = torch.tensor([term.weight for term in terms], dtype=shares.dtype, device=shares.device)
        return (weights * shares).sum(), shares.detach(), names


class TrainingStep:
    """Runs steps of any model: it knows phases, players and terms, and no model by name.

    Gradients of the ranks' shares add up: DistributedDataParallel averages them, so each total is multiplied by the
    world size first (law 1).

    Args:
        model: on its device already.
        players: of ``build_players``.
        bf16: run the model's forward pass in bfloat16 autocast.
    """

    def __init__(self, model: Model, players: dict[str, Player], bf16: bool = False) -> None:
        self.model = model
        self.players = players
        self.phases = model.phases
        model.train()
        self._loss: nn.Module = PhaseLoss(model, bf16)
        if is_distributed():
            check_normalisation(model)
            # Phases that train some players, and steps that train a part of one, leave the others' gradients out of the
            # graph, which DDP must then look for.
            # Buffers are the same on every rank by contract (after_step), so they need no broadcast.
            self._loss = DistributedDataParallel(
                self._loss,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=len(self.phases) > 1 or model.leaves_parameters_out,
            )

    def run(self, batch: Batch, clock: Clock, ledger: Ledger) -> None:
        """One optimiser step on this rank's part of the global batch.

        Raises:
            NonFiniteError: a term or a gradient is not finite, on any rank; nothing of that phase has been updated.
        """
        for phase in self.phases:
            if phase.every == 1 or clock.step % phase.every == 0:
                self._run_phase(phase, batch, clock, ledger)
        with torch.no_grad():
            self.model.after_step(clock)

    def _run_phase(self, phase: Phase, batch: Batch, clock: Clock, ledger: Ledger) -> None:
        trained = [self.players[name] for name in phase.players]
        for name, player in self.players.items():
            player.require_gradients(name in phase.players)
            player.clear_gradients()
        # Draws of layers that know no keys, such as dropout, still follow from the clock alone (law 4).
        torch.manual_seed(stable_hash(clock.seed, clock.step, phase.name))
        total, shares, names = self._loss(phase.name, batch, clock)
        (total * world_size()).backward()
        norms = [player.gradient_norm() for player in trained]
        self._check_finite(phase, batch, clock, shares, names, norms)
        for player, norm in zip(trained, norms, strict=True):
            rate = player.update(norm, clock.step, clock.num_steps)
            ledger.add_same(f"gradient_norm/{player.name}", norm)
            ledger.add_same(f"learning_rate/{player.name}", rate)
        for name, share in zip(names, shares.unbind(), strict=True):
            ledger.add_share(f"loss/{name}", share, phase.name)
        # The first phase's total has one name in every model, so that a server's own comparison finds it.
        suffix = "" if phase.name == self.phases[0].name else f"_{phase.name}"
        ledger.add_share(f"loss/total{suffix}", total, phase.name)

    def _check_finite(
        self,
        phase: Phase,
        batch: Batch,
        clock: Clock,
        shares: Tensor,
        names: tuple[str, ...],
        norms: list[Tensor],
    ) -> None:
        bad_terms = ~torch.isfinite(shares)
        bad = torch.stack([bad_terms.any(), ~torch.isfinite(torch.stack(norms)).all()]).to(torch.float32)
        if not bool(global_max(bad).any()):
            return
        found = [name for name, is_bad in zip(names, bad_terms.tolist(), strict=True) if is_bad]
        reports: list[tuple[list[str], tuple[str, ...]]] = gather_objects((found, suspects(batch) if found else ()))
        where = f"step {clock.step}, phase {phase.name!r}"
        terms = list(dict.fromkeys(name for report in reports for name in report[0]))
        remedy = (
            "the update was not made and the last checkpoint is good; lower the learning rate, or look at those samples"
        )
        if terms:
            samples = list(dict.fromkeys(sample for report in reports for sample in report[1]))
            raise NonFiniteError(f"{where}: term {', '.join(terms)} is not finite; samples: {_listed(samples)}", remedy)
        # Gradients are summed over ranks already, so every rank finds the same parameter.
        parameters = [
            f"{name}: {bad_name}" for name in phase.players if (bad_name := self.players[name].first_bad_gradient())
        ]
        everyone: list[Any] = [sample for ids in gather_objects(batch.ids) for sample in ids]
        raise NonFiniteError(
            f"{where}: all terms are finite but the gradient is not ({', '.join(parameters) or 'its norm overflows'});"
            f" samples: {_listed(everyone)}",
            remedy,
        )


def suspects(batch: Batch) -> tuple[str, ...]:
    """The samples whose own input holds a value that is not finite, naming the field, or else all of the batch's."""
    found = []
    for index, sample in enumerate(batch.ids):
        fields = [
            name
            for name, value in batch.fields.items()
            if value.is_floating_point() and not bool(torch.isfinite(value[index]).all())
        ]
        if fields:
            found.append(f"{sample} (its {', '.join(fields)} is not finite)")
    return tuple(found) or batch.ids


def check_normalisation(model: nn.Module) -> None:
    """Refuse batch norm that would see each rank's own part of the batch only (law 1).

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
                f"{name} is a batch norm over each worker's own samples, so more workers would learn something else",
                "freeze it, use torch.nn.SyncBatchNorm, or a norm that does not look across the batch",
            )


def _at_least_float32(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()


def _listed(samples: list[str]) -> str:
    more = f" and {len(samples) - NAMES_SHOWN} more" if len(samples) > NAMES_SHOWN else ""
    return ", ".join(samples[:NAMES_SHOWN]) + more
