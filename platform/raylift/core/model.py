"""The contract between a model and everything that trains, evaluates and exports it.

It has two halves, because callers need different things: the loop trains a ``Model``; evaluation, export and the jobs
need a ``ReconstructionModel``. A model that predicts something else from an image, such as part maps, is only a
``Model``, so that asking it for a shape is an error before anything runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor, nn

from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.examples import ExampleRequest, Examples
from raylift.core.step_info import StepInfo
from raylift.core.stopwatch import Stopwatch
from raylift.core.types import Batch, Camera, Reconstruction, SampleRequest


@dataclass(frozen=True)
class Phase:
    """A part of a step that updates some parameter groups.

    Attributes:
        name: passed to ``Model.losses``.
        groups: names of the parameter groups that this phase's loss trains; the others are not updated.
        every: steps between runs of this phase (16 for a lazy regulariser).
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
"""Tensors by name that the phases of a step pass on: detached, for this rank's samples."""


@dataclass(frozen=True)
class LossOutput:
    """What one phase returns.

    Attributes:
        terms: at least one, each with a unique name.
        carry: passed to later phases of the same step and to ``Model.after_step``. Detached.
    """

    terms: Sequence[Term]
    carry: Carry = field(default_factory=dict)


class Model(nn.Module):
    """What the training loop knows about a model: what it needs and what it minimises.

    A model holds all of its state in parameters and buffers (templates, feature banks, pruned cameras), so that a
    checkpoint is its ``state_dict``; results of one step are passed on in its carry. It never logs, never uses Ray or
    MLflow, and draws random numbers only from generators keyed by (step_info.seed, step_info.step, sample key).
    """

    @property
    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of a training step, in order."""

    @property
    @abstractmethod
    def request(self) -> SampleRequest:
        """What each training sample must contain."""

    @property
    def leaves_parameters_out(self) -> bool:
        """Whether some steps' losses reach only part of a group's parameters, the same part on every rank."""
        return False

    def parameter_groups(self) -> dict[str, Sequence[nn.Parameter]]:
        """Trainable parameters by group; each group has its own optimizer. Default: one group, "model"."""
        return {"model": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    @property
    def example_request(self) -> ExampleRequest | None:
        """Which training objects the model keeps as part of its state; None keeps none."""
        return None

    def keep_examples(self, examples: Examples) -> None:
        """Store the training objects that ``example_request`` asked for; called once, before a new run's first step."""
        assert self.example_request is None, f"{type(self).__name__} asks for training objects and keeps none"

    @abstractmethod
    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """The terms of one phase on this rank's part of the global batch.

        Args:
            carry: what earlier phases of this step passed on; empty in the first.
        """

    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        """Update what gradients do not train, such as a template or a bank, identically on every rank.

        Args:
            carry: what all phases of this step passed on, for this rank's samples.
        """

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """Scores of held-out samples by name, [B] each; called in eval mode, without gradient.

        Validation logs their means as ``val/NAME``. A ``ReconstructionModel`` is scored by its reconstructions; it
        reports here what those do not show, such as the state of a discriminator (a buffer, repeated for every sample).
        ``evaluation.alarms`` lists the names that ring an alarm.
        """
        return {}

    def doubts(self) -> tuple[str, ...]:
        """Reasons to distrust the result or the data, one sentence each with its remedy; called when a run ends.

        The same on every rank.
        """
        return ()

    def load_pretrained(self, state: Mapping[str, Tensor], where: str) -> None:
        """Initialise from another run's checkpoint. Subclasses choose which tensors to load.

        By default all of them, so their sizes must match.

        Args:
            state: a ``state_dict`` of this model, with averaged parameters if the run kept averages.
            where: names the checkpoint in errors.

        Raises:
            CheckpointError: a needed tensor is missing or has another size.
        """
        try:
            self.load_state_dict(dict(state), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{where} does not fit this recipe's model: {str(error)[:500]}",
                "start from a run of the same model and sizes",
            ) from None


class ReconstructionModel(Model):
    """A model that reconstructs a shape from an image."""

    @abstractmethod
    def reconstruct(self, batch: Batch) -> list[Reconstruction]:
        """One reconstruction per sample; called in eval mode, without gradient.

        It takes a batch, not bare images, because depth, camera or voxels may condition it.
        """


@dataclass(frozen=True)
class Recognition:
    """What a model says of the objects in B images: class, pose and outlines.

    Attributes:
        log_probs: log-probability of each category; the last one is "none of them".
        camera: the camera of each image, in the canonical frame of the category that is believed.
        amodal: probability of each pixel to belong to the object, hidden parts included.
        visible: probability of each pixel to show the object.
        occluder: probability of each pixel to show what hides the object.
    """

    log_probs: Float[Tensor, "B C+1"]
    camera: Camera
    amodal: Float[Tensor, "B 1 H W"]
    visible: Float[Tensor, "B 1 H W"]
    occluder: Float[Tensor, "B 1 H W"]


class ObjectRecogniser(Model):
    """A model that tells an object's category, pose and outline, even when half of it is hidden.

    Attributes:
        stopwatch: measures the stages of ``recognise`` while it is set; a model without stages leaves it alone.
    """

    stopwatch: Stopwatch | None = None

    @property
    @abstractmethod
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, in the order of ``Recognition.log_probs``."""

    @abstractmethod
    def recognise(self, batch: Batch, category: Int[Tensor, "B"] | None = None) -> Recognition:
        """Class, pose and outlines of each sample; called in eval mode, without an outer graph.

        Args:
            category: index of each sample's category, if it is told; otherwise the model finds it.
        """


class PartSegmenter(Model):
    """A model that segments the object in an image into parts."""

    @property
    @abstractmethod
    def num_parts(self) -> int:
        """Number of parts, excluding the background."""

    @abstractmethod
    def segment(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        """The probability of each part at each pixel of the object, adding up to 1; in eval mode, without gradient."""


class ImageTextMatcher(Model):
    """A model that maps images and their captions to one space."""

    @abstractmethod
    def embed(self, batch: Batch) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Unit vectors of each sample's image and of its caption; in eval mode, without gradient."""


def require_reconstruction(model: Model, name: str) -> ReconstructionModel:
    """The model, if it reconstructs shapes.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(model, ReconstructionModel):
        raise ConfigError(f"{name!r} does not reconstruct shapes", "use a run of a model that does")
    return model
