"""Records in a sweep's folder: its definition, and for each trial its plan, its story and its end.

Each file has one writer, so nothing is lost when driver and trials write at once: the driver writes plans and ends, a
trial its story. The same command reads them all and resumes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from raylift.core.errors import ConfigError
from raylift.core.storage import Storage
from raylift.sweeps.config import Metric, Sweep
from raylift.sweeps.space import Values, frozen
from raylift.sweeps.stop_rules import Observation

Status = Literal["unfinished", "finished", "stopped", "failed"]
LAYOUT = 1


def trial_name(number: int) -> str:
    """Name of a trial: of its run, its folder and its MLflow run."""
    return f"trial-{number:03d}"


@dataclass(frozen=True)
class End:
    """How a trial ended.

    Attributes:
        status: "finished" after all its steps, "stopped" earlier by a rule or the scheduler, or "failed" with an error.
        reason: the rule and why it applied, "scheduler: ...", or the error.
    """

    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Generation:
    """What a trial ran with from some step on; only trials of population-based training have several.

    Attributes:
        run: name of the run that holds its checkpoints.
        values: values of the space.
        donor: number of the trial whose checkpoint it continued from; -1 for a fresh start.
        step: step of that checkpoint.
    """

    run: str
    values: Values
    donor: int = -1
    step: int = 0


@dataclass(frozen=True)
class Trial:
    """Everything known about a trial.

    Attributes:
        number: from 0, in the order of proposal.
        values: values that it started with.
        generations: what it ran with; at least one once it has started.
        reports: evaluations in order, without those of discarded models; after a trial continued from another's
            checkpoint, they begin with that checkpoint's own.
        end: how it ended; "unfinished" while it runs or if it was interrupted.
        seconds: total running time.
        steps: total optimizer steps, including those of discarded generations.
    """

    number: int
    values: Values
    generations: tuple[Generation, ...] = ()
    reports: tuple[Observation, ...] = ()
    end: End = field(default_factory=lambda: End("unfinished"))
    seconds: float = 0.0
    steps: int = 0

    @property
    def name(self) -> str:
        return trial_name(self.number)

    @property
    def generation(self) -> Generation:
        """The current generation."""
        return self.generations[-1] if self.generations else Generation(self.name, self.values)

    @property
    def step(self) -> int:
        """Step of the last evaluation."""
        return self.reports[-1].step if self.reports else 0

    def score(self, metric: Metric) -> float | None:
        """The best value of its evaluations, which is that of its best checkpoint; None without a finite value."""
        found = [report.metrics[metric.name] for report in self.reports if metric.name in report.metrics]
        finite = [value for value in found if math.isfinite(value)]
        return max(finite, key=lambda value: metric.sign * value, default=None)

    def scores(self, metrics: Sequence[Metric]) -> tuple[float, ...] | None:
        """For one metric its best value; for several their values in the last evaluation, which belong to one model."""
        if len(metrics) == 1:
            score = self.score(metrics[0])
            return None if score is None else (score,)
        for report in reversed(self.reports):
            values = tuple(report.metrics.get(metric.name, float("nan")) for metric in metrics)
            if all(math.isfinite(value) for value in values):
                return values
        return None


class SweepFolder:
    """The folder of one sweep, local or s3://.

    Args:
        uri: ``<storage>/<name of the sweep>``; its trials' runs are in its subfolder ``trials``.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    @property
    def runs(self) -> str:
        """Storage of the trials' runs."""
        return f"{self.uri}/trials"

    def _home(self) -> Storage:
        return Storage.at(self.uri)

    def _records(self) -> Storage:
        return Storage.at(f"{self.uri}/records")

    def claim(self, sweep: Sweep, data: str, data_fingerprint: str) -> None:
        """Claim the folder for this sweep, or resume the sweep in it; raises as ``check``."""
        self.check(sweep, data_fingerprint)
        decisive = {"sweep": sweep.decisive(), "data": data_fingerprint}
        content = {"layout": LAYOUT, "decisive": decisive, "sweep": sweep.to_dict(), "data": data}
        self._home().write("sweep.json", json.dumps(content, indent=2).encode())

    def check(self, sweep: Sweep, data_fingerprint: str) -> None:
        """Refuse a folder that belongs to something else.

        Raises:
            ConfigError: it holds another sweep, one on another data set, or a run.
        """
        home = self._home()
        ours = json.loads(json.dumps({"sweep": sweep.decisive()}))
        names = home.names()
        if "sweep.json" in names:
            known = json.loads(home.read("sweep.json"))
            if known.get("layout") != LAYOUT:
                raise ConfigError(f"{self.uri} has layout {known.get('layout')}", "use another --name")
            theirs = known["decisive"]
            differing = [
                path
                for path in sorted({*theirs["sweep"], *ours["sweep"]})
                if theirs["sweep"].get(path) != ours["sweep"].get(path)
            ]
            if differing:
                listed = "; ".join(
                    f"{path}: {theirs['sweep'].get(path)} there, {ours['sweep'].get(path)} now"
                    for path in differing[:4]
                )
                raise ConfigError(
                    f"{self.uri} holds another sweep ({listed})",
                    "use another --name, or the sweep it was started with",
                )
            if theirs["data"] != data_fingerprint:
                raise ConfigError(f"{self.uri} was swept on another data set", "use another --name, or that data set")
        elif "run.json" in names:
            raise ConfigError(f"{self.uri} holds a run, not a sweep", "use another --name")

    def plan(self, number: int, values: Values) -> None:
        """Record the values that the driver has chosen for a trial."""
        self._write(number, "plan", {"values": values})

    def tell(self, number: int, trial: Trial, end: End | None = None) -> None:
        """Record a trial's story so far, from the trial."""
        story = {
            "generations": [asdict(one) for one in trial.generations],
            "reports": [report.to_dict() for report in trial.reports],
            "seconds": trial.seconds,
            "steps": trial.steps,
            "end": asdict(end) if end else None,
        }
        self._write(number, "story", story)

    def close(self, number: int, end: End) -> None:
        """Record the end of a trial that could not do so itself, from the driver."""
        self._write(number, "end", asdict(end))

    def reopen(self, number: int) -> None:
        """Let the next command resume a trial that ended."""
        self._records().delete(f"{trial_name(number)}.end.json")
        trial = self.trial(number)
        self.tell(number, trial)

    def trials(self) -> list[Trial]:
        """Everything known about every trial, by number."""
        names = [name for name in self._records().names() if name.endswith(".plan.json")]
        return [self.trial(int(name.removeprefix("trial-").partition(".")[0])) for name in names]

    def trial(self, number: int) -> Trial:
        """Everything known about one trial."""
        folder, name = self._records(), trial_name(number)
        there = folder.names()
        files = {
            part: json.loads(folder.read(f"{name}.{part}.json")) if f"{name}.{part}.json" in there else {}
            for part in ("plan", "story", "end")
        }
        story = files["story"]
        end = story.get("end") or files["end"] or {"status": "unfinished", "reason": ""}
        return Trial(
            number=number,
            values=_values(files["plan"].get("values", {})),
            generations=tuple(
                Generation(**{**one, "values": _values(one["values"])}) for one in story.get("generations", [])
            ),
            reports=tuple(Observation(**one) for one in story.get("reports", [])),
            end=End(**end),
            seconds=float(story.get("seconds", 0.0)),
            steps=int(story.get("steps", 0)),
        )

    def write(self, name: str, content: bytes) -> str:
        """Write a result next to ``sweep.json``; returns its path."""
        self._home().write(name, content)
        return f"{self.uri}/{name}"

    def _write(self, number: int, part: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1)
        self._records().write(f"{trial_name(number)}.{part}.json", text.encode())


def _values(values: Mapping[str, Any]) -> Values:
    return {path: frozen(value) for path, value in values.items()}
