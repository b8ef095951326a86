"""Checkpoints: all of a run's state, written atomically, verified when read (law 4).

A checkpoint is ``step-00000500.pt`` (a ``torch.save`` file, loads with ``weights_only=True``) and, written after it,
``step-00000500.json``: its digest, recipe and metrics. A checkpoint exists when its JSON does, so one that was cut off
by a kill or a full disk is never seen.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raylift.config.codec import read_json
from raylift.config.tree import flatten
from raylift.core.errors import CheckpointError, ConfigError, MissingFileError
from raylift.core.storage import Storage
from raylift.training.snapshot import Snapshot

FORMAT = 1
_SIDECAR = re.compile(r"^step-(\d{8})\.json$")
_READ_ERRORS = (RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError, zipfile.BadZipFile)


@dataclass(frozen=True)
class CheckpointEntry:
    """Content of the JSON next to a checkpoint.

    Attributes:
        step: optimizer steps done.
        num_steps: steps of the whole run.
        sha256, num_bytes: digest and size of the ``.pt`` file.
        metrics: scores of the evaluation at this step, if there was one.
        recipe: the recipe as plain values.
        data: fingerprint of the data set it was trained on.
        info: facts about the data set that its model was built for (``core.dataset_info``).
        format: version of this layout.
    """

    step: int
    num_steps: int
    sha256: str
    num_bytes: int
    metrics: dict[str, float]
    recipe: dict[str, Any]
    data: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def stem(self) -> str:
        return _stem(self.step)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been read and verified.

    Attributes:
        entry: its description.
        model: the model's ``state_dict``, as trained.
        averages: moving averages of parameters, by name in ``model``; empty if none were kept.
        groups: every optimizer's state, by group.
        accumulator: the open window of metrics.
    """

    entry: CheckpointEntry
    model: dict[str, Tensor]
    averages: dict[str, Tensor]
    groups: dict[str, Any]
    accumulator: dict[str, tuple[float, int]]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The ``state_dict`` to evaluate and export: averaged parameters where they are kept."""
        return {**self.model, **self.averages}

    def load_weights(self, model: nn.Module) -> None:
        """Load ``weights`` into a model.

        Raises:
            CheckpointError: the model has other parameters.
        """
        load_state(model, self.weights, self.entry.stem)


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        uri: folder of the checkpoints, local or s3://.
        keep_last: number of newest checkpoints to keep, in addition to the best one.
        best_metric, best_is: metric of the best checkpoint, and its direction.
    """

    def __init__(
        self,
        uri: str | Path,
        keep_last: int = 2,
        best_metric: str = "val/iou",
        best_is: Literal["max", "min"] = "max",
    ) -> None:
        self.folder = Storage.at(uri)
        self.keep_last = keep_last
        self.best_metric = best_metric
        self.best_is = best_is

    def path(self, entry: CheckpointEntry) -> str:
        """Path of an entry's ``.pt`` file."""
        return f"{self.folder.uri}/{entry.stem}.pt"

    def entries(self) -> list[CheckpointEntry]:
        """All committed checkpoints, oldest first."""
        return [self._entry(name) for name in self.folder.names() if _SIDECAR.match(name)]

    def last(self) -> CheckpointEntry | None:
        """The newest checkpoint."""
        entries = self.entries()
        return entries[-1] if entries else None

    def best(self) -> CheckpointEntry | None:
        """The best checkpoint by ``best_metric``, the first of equals; None if none was evaluated."""
        return self._best_of(self.entries())

    def _best_of(self, entries: Sequence[CheckpointEntry]) -> CheckpointEntry | None:
        scored = [entry for entry in entries if self.best_metric in entry.metrics]
        sign = 1.0 if self.best_is == "max" else -1.0
        return max(scored, key=lambda entry: (sign * entry.metrics[self.best_metric], -entry.step), default=None)

    def write(
        self,
        step: int,
        num_steps: int,
        model: nn.Module,
        groups: Mapping[str, Mapping[str, Any]],
        recipe: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        accumulator: Mapping[str, tuple[float, int]] | None = None,
        data: str = "",
        info: Mapping[str, Any] | None = None,
    ) -> CheckpointEntry:
        """Commit a checkpoint, then delete those that are no longer kept.

        Raises:
            CheckpointError: another process has committed this step.
            StorageError: it could not be written; earlier ones are left unchanged.
        """
        snapshot = Snapshot.take(step, num_steps, model, groups, recipe, accumulator, data, info)
        return self.commit(snapshot, *self.write_state(snapshot), metrics or {})

    def write_state(self, snapshot: Snapshot) -> tuple[str, int]:
        """Write a snapshot's ``.pt`` file; returns its digest and size. It is no checkpoint before ``commit``.

        Raises:
            StorageError: it could not be written.
        """
        snapshot.wait()
        payload = {
            "format": FORMAT,
            "step": snapshot.step,
            "model": snapshot.model,
            "groups": snapshot.groups,
            "accumulator": {name: [total, count] for name, (total, count) in snapshot.accumulator.items()},
        }
        buffer = io.BytesIO()
        torch.save(payload, buffer)
        content = buffer.getvalue()
        # Neither file of a committed step is ever replaced: two writers would leave a mixed pair.
        if self.folder.size(f"{_stem(snapshot.step)}.json") is None:
            self.folder.write(f"{_stem(snapshot.step)}.pt", content)
        return hashlib.sha256(content).hexdigest(), len(content)

    def commit(self, snapshot: Snapshot, sha256: str, num_bytes: int, metrics: Mapping[str, float]) -> CheckpointEntry:
        """Commit what ``write_state`` wrote, then delete those that are no longer kept.

        Raises:
            CheckpointError: another process has committed this step.
            StorageError: it could not be written; earlier ones are left unchanged.
        """
        entry = CheckpointEntry(
            step=snapshot.step,
            num_steps=snapshot.num_steps,
            sha256=sha256,
            num_bytes=num_bytes,
            metrics=dict(metrics),
            recipe=snapshot.recipe,
            data=snapshot.data,
            info=snapshot.info or {},
        )
        name, described = f"{entry.stem}.json", json.dumps(asdict(entry), indent=2).encode()
        if not self.folder.commit(name, described) and self._entry(name).sha256 != entry.sha256:
            raise CheckpointError(
                f"step {entry.step} in {self.folder.uri} was committed by another process",
                "stop the other driver of this run, or use another run name",
            )
        self._prune()
        return entry

    def import_checkpoint(self, content: bytes, described: bytes, recipe: Mapping[str, Any]) -> CheckpointEntry:
        """Import another run's checkpoint with all of its state, to continue from it under another recipe.

        Population-based training lets a run continue from a better one's state with other loss weights. Whether the
        state fits is checked when it is loaded.

        Args:
            content: bytes of the other run's ``.pt`` file.
            described: bytes of its JSON.

        Raises:
            CheckpointError: damaged, or it could not be written.
        """
        entry = replace(_parse_entry(described, "the given checkpoint"), recipe=dict(recipe))
        if len(content) != entry.num_bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise CheckpointError(f"checkpoint {entry.stem} to import is damaged", "import another one")
        self.folder.write(f"{entry.stem}.pt", content)
        self.folder.write(f"{entry.stem}.json", json.dumps(asdict(entry), indent=2).encode())
        return entry

    def read(self, entry: CheckpointEntry) -> Checkpoint:
        """Read and verify a checkpoint.

        Raises:
            CheckpointError: damaged; the message names the last good one.
            StorageError: it cannot be read, for another reason.
        """
        try:
            return self._read(entry)
        except CheckpointError as error:
            good = self._last_good(entry)
            raise CheckpointError(
                error.problem,
                f"the last good checkpoint is {self.path(good)}; delete {entry.stem}.json and {entry.stem}.pt, then"
                " rerun the same command to resume from there"
                if good
                else "there is no other good checkpoint: start under another run name",
            ) from None

    def _read(self, entry: CheckpointEntry) -> Checkpoint:
        where = self.path(entry)
        try:
            data = self.folder.read(f"{entry.stem}.pt")
        except MissingFileError:
            raise CheckpointError(f"checkpoint {where} is damaged: it is missing next to its .json") from None
        if len(data) != entry.num_bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise CheckpointError(
                f"checkpoint {where} is damaged: it has {len(data)} bytes of {entry.num_bytes}, or"
                " a digest other than the one in its .json"
            )
        try:
            payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except _READ_ERRORS as error:
            raise CheckpointError(f"checkpoint {where} does not load: {error}") from None
        averages: dict[str, Tensor] = {}
        for state in payload["groups"].values():
            averages |= state["averages"]
        return Checkpoint(
            entry=entry,
            model=payload["model"],
            averages=averages,
            groups=payload["groups"],
            accumulator={name: (float(total), int(count)) for name, (total, count) in payload["accumulator"].items()},
        )

    def _last_good(self, damaged: CheckpointEntry) -> CheckpointEntry | None:
        for entry in reversed(self.entries()):
            if entry.step == damaged.step:
                continue
            try:
                self._read(entry)
            except CheckpointError:
                continue
            return entry
        return None

    def _entry(self, name: str) -> CheckpointEntry:
        return _parse_entry(self.folder.read(name), f"{self.folder.uri}/{name}")

    def _prune(self) -> None:
        entries = self.entries()
        kept = {entry.step for entry in entries[-self.keep_last :]}
        best = self._best_of(entries)
        if best is not None:
            kept.add(best.step)
        for entry in entries:
            if entry.step not in kept:
                # The JSON first: a checkpoint without one does not exist, one without its .pt would be damaged.
                self.folder.delete(f"{entry.stem}.json")
                self.folder.delete(f"{entry.stem}.pt")


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read one checkpoint by its own path (``.../step-00000500.pt``), local or s3://.

    Raises:
        CheckpointError: missing, without its JSON, or damaged.
    """
    folder, _, name = str(path).rpartition("/")
    if not re.match(r"^step-\d{8}\.pt$", name):
        raise CheckpointError(f"{path} is not named like a checkpoint", "use .../checkpoints/step-NNNNNNNN.pt")
    store = CheckpointStore(folder or ".")
    sidecar = name.removesuffix(".pt") + ".json"
    if sidecar not in store.folder.names():
        raise CheckpointError(f"{sidecar} is missing next to {path}", "copy both files of a checkpoint")
    return store.read(store._entry(sidecar))


def find_checkpoints(run: str | Path) -> str:
    """The folder of a run's checkpoints: ``checkpoints`` in its folder, or the folder itself."""
    text = str(run).rstrip("/")
    below = f"{text}/checkpoints"
    return below if CheckpointStore(below).folder.names() else text


def load_state(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state_dict strictly.

    Raises:
        CheckpointError: names or shapes differ, naming the first few.
    """
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights of {where} do not fit this model: {str(error)[:500]}", "use the recipe of the checkpoint"
        ) from None


def check_recipe(
    entry: CheckpointEntry, recipe: Mapping[str, Any], free: Sequence[str], where: str, data: str = ""
) -> None:
    """Refuse to resume with another recipe or data set.

    Args:
        free: dotted paths (of values or groups) that may differ, because they do not decide what is learned.

    Raises:
        CheckpointError: naming each path that differs, with both values.
    """
    theirs, ours = flatten(entry.recipe), flatten(recipe)
    differing = [
        path
        for path in sorted({*theirs, *ours})
        if theirs.get(path) != ours.get(path) and not any(path == name or path.startswith(f"{name}.") for name in free)
    ]
    if differing:
        shown = "; ".join(f"{path}: {theirs.get(path)!r} there, {ours.get(path)!r} now" for path in differing[:8])
        more = f" and {len(differing) - 8} more" if len(differing) > 8 else ""
        raise CheckpointError(
            f"{where} belongs to another recipe ({shown}{more})",
            "use another run name, or the recipe it was started with",
        )
    if entry.data != data:
        raise CheckpointError(
            f"{where} was trained on another data set ({entry.data!r} there, {data!r} now)",
            "use another run name, or the data set it was started with",
        )


def _stem(step: int) -> str:
    return f"step-{step:08d}"


def _parse_entry(text: bytes, where: str) -> CheckpointEntry:
    try:
        entry = read_json(CheckpointEntry, text, is_record=True)
    except ConfigError as error:
        raise CheckpointError(
            f"{where} is damaged: {error.problem}",
            "delete it and its .pt, then rerun the same command to resume from the previous checkpoint",
        ) from None
    if entry.format != FORMAT:
        raise CheckpointError(f"{where} has layout {entry.format}", f"this Raylift reads layout {FORMAT}")
    return entry
