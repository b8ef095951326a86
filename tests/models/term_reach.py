"""Which parameters each weighted term reaches: law 8 as a table that a test writes down and this measures.

A test builds a model at a place where no gradient is zero by chance (``raylift.testing.gradients.wake``), names its
parameter groups, and compares ``reach_of`` with the table that the model's README prints. A term that reaches a group
it is not for, misses one, or has lost its weight changes the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raylift.core.model import Term


@dataclass(frozen=True)
class Group:
    """A named set of parameters.

    Attributes:
        parameters: of which at least one must be reached.
        rows: bool, one a row of each parameter: those that belong to the group; None for all.
    """

    parameters: tuple[nn.Parameter, ...]
    rows: Tensor | None = None

    @classmethod
    def of(cls, *modules: nn.Module) -> Group:
        return cls(tuple(parameter for module in modules for parameter in module.parameters()))


def reach_of(terms: Sequence[Term], groups: Mapping[str, Group]) -> dict[str, set[str]]:
    """The groups that each term's gradient reaches.

    Raises:
        AssertionError: a term has no weight, or is not finite: it would train nothing, or everything.
    """
    found = {}
    for term in terms:
        assert term.weight > 0, f"{term.name} has weight {term.weight}"
        assert bool(torch.isfinite(term.share)), f"{term.name} is {float(term.share)}"
        found[term.name] = {name for name, group in groups.items() if _reaches(term.share, group)}
    return found


def _reaches(share: Tensor, group: Group) -> bool:
    if not share.requires_grad:
        return False
    slopes = torch.autograd.grad(share, group.parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return any(bool((slope if group.rows is None else slope[group.rows]).any()) for slope in slopes)


def table(reach: Mapping[str, set[str]], groups: Iterable[str]) -> str:
    """For a person, and for the README: a row a term, a mark where it reaches."""
    names = list(groups)
    lines = [f"| term | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {term} | {' | '.join('x' if name in reached else '' for name in names)} |"
        for term, reached in reach.items()
    ]
    return "\n".join(lines)
