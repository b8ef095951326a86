"""The contract between a model and everything that trains, evaluates and exports it.

It has two halves, because two kinds of callers ask for different things: the loop trains a ``Model``, and evaluation,
export and the jobs around them want a ``ReconstructionModel``. A model that makes something else of an image, such as
part maps, is a ``Model`` only, so that asking it for a shape is an error before anything runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, Reconstruction, SampleRequest


@dataclass(frozen=True)
class Phase:
    """A part of a step that updates some parameter groups.

    Attributes:
        name: handed back to ``Model.losses``.
        groups: names of the parameter groups that this phase's loss trains; the others are left alone.
        every: run this phase on every so many steps (a lazy regulariser has 16).
    """

    name: str
    groups: tuple[str, ...]
    every: int = 1


@dataclass(frozen=True)
class Term:
    """One weighted term of a phase's loss.

    Attributes:
        name: unique within the phase; logged as ``loss/<name>``.
        share: scalar: **this rank's share** of the term over the global batch (see ``core.collectives``): shares of all
            ranks add up to the value that one rank would get for the whole batch.
        weight: multiplies the share in the total; 0 logs the term without training on it.
    """

    name: str
    share: Tensor
    weight: float = 1.0


Carry = Mapping[str, Tensor]
"""Tensors by name that a step's phases hand on: detached, of this rank's samples."""


@dataclass(frozen=True)
class LossOutput:
    """What one phase gives.

    Attributes:
        terms: at least one, each with a name of its own.
        carry: what later phases of the same step and ``Model.after_step`` get. Detached.
    """

    terms: Sequence[Term]
    carry: Carry = field(default_factory=dict)


class Model(nn.Module):
    """What the training loop knows of a model: what it needs and what it minimises.

    A model holds all of its state in parameters and buffers (templates, feature banks, pruned cameras), so that a
    checkpoint is its ``state_dict``; what one step finds out travels in its carry. It never logs, never talks to Ray
    or MLflow, and draws random numbers only from
    generators keyed by (step_info.seed, step_info.step, sample key).
    """

    @property
    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """What a training step consists of, in order."""

    @property
    @abstractmethod
    def request(self) -> SampleRequest:
        """What each training sample must carry."""

    @property
    def leaves_parameters_out(self) -> bool:
        """Whether some steps' losses reach only a part of a group's parameters, the same part on every rank."""
        return False

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """Trainable parameters by group: each group has an optimiser of its own. One group, "model", by default."""
        return {"model": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    @property
    def example_request(self) -> ExampleRequest | None:
        """Which training objects the model keeps as part of its state; None keeps none."""
        return None

    def keep_examples(self, examples: Examples) -> None:
        """Take the training objects that ``example_request`` asked for; called once, before a new run's first step."""
        assert self.example_request is None, f"{type(self).__name__} asks for training objects and keeps none"

    @abstractmethod
    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The terms of one phase on this rank's part of the global batch.

        Args:
            carry: what earlier phases of this step handed on; empty in the first.
        """

    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Refresh what is not trained by gradient, such as a template or a bank, equally on every rank.

        Args:
            carry: what all phases of this step handed on, for this rank's samples.
        """

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """Scores of held-out samples by name, [B] each; called in eval mode, without gradient.

        For models that reconstruct nothing; a ``ReconstructionModel`` is scored by its reconstructions.
        """
        return {}

    def doubts(self) -> tuple[str, ...]:
        """What speaks against the result or the data, a sentence each with its remedy; asked when a run ends.

        The same on every rank.
        """
        return ()

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Start from another run's weights and state instead of from the seed; a model decides what it takes.

        By default all of it, so it must be of the same sizes.

        Args:
            state: a ``state_dict`` of this model, averaged parameters where the run kept averages.
            where: names the checkpoint in errors.

        Raises:
            CheckpointError: what is needed is not there, or of other sizes.
        """
        try:
            self.load_state_dict(dict(state), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{where} does not fit this recipe's model: {str(error)[:500]}",
                "start from a run of the same model and sizes",
            ) from None


class ReconstructionModel(Model):
    """A model that makes a shape of an image."""

    @abstractmethod
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One reconstruction a sample; called in eval mode, without gradient.

        It takes a batch, not bare images, because depth, camera or voxels may condition it.
        """


class PartSegmenter(Model):
    """A model that divides the object of an image into parts."""

    @property
    @abstractmethod
    def num_parts(self) -> int:
        """Parts without the background."""

    @abstractmethod
    def segment(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        """The probability of each part at each pixel of the object, adding up to 1; in eval mode, without gradient."""


def require_reconstruction(model: Model, name: str) -> ReconstructionModel:
    """The model, if it makes shapes.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(model, ReconstructionModel):
        raise ConfigError(f"{name!r} makes no shapes", "ask a run of another model for shapes")
    return model
