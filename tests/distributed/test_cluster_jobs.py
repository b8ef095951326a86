"""Jobs on clusters of several raylets, with the command elsewhere: submitted, resumed, failed, and from zero nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raylift.runs.submission import JobServer
from tests.distributed.clusters import Running, autoscaled_cluster, static_cluster
from tests.sweeps.sweeps import make_sweep

ROOT = Path(__file__).parents[2]
QUICK = (
    "schedule.num_steps=8", "schedule.eval_every=4", "schedule.checkpoint_every=4", "schedule.log_every=2",
    "evaluation.panels=0", "scale.cpus_per_worker=0.5", "scale.data_cpus=0.5",
)  # fmt: skip
ENDS_WITHIN_S = 600


def run(job: str, *words: str, address: str = "") -> subprocess.CompletedProcess[str]:
    """Run a job of this checkout as a process of its own; ``address`` is that of the cluster that it joins."""
    joined = {"RAY_ADDRESS": address} if address else {}
    return subprocess.run(
        [sys.executable, str(ROOT / job), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform"), "COLUMNS": "400", **joined},
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Running]:
    with static_cluster(1, 1) as running:
        yield running


@pytest.mark.cluster
def test_trainings_and_evaluations_are_submitted(two_nodes: Running, data: Path, tmp_path: Path) -> None:
    """Two workers on two nodes; a run that was stopped half way resumes when its command is submitted again."""
    train = ("jobs/train.py", "implicit/test", "--data", str(data), "--storage", str(tmp_path), "--name", "sent")
    told = ("--tracking", "none", "scale.workers=2", *QUICK)
    first = run("jobs/submit.py", "--address", two_nodes.jobs, "--", *train, *told, "scale.wait_for_nodes_s=60")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "training on CPUs (scale.gpu=auto): the nodes have 0 GPUs" in first.stdout
    assert "step 8: " in first.stdout
    again = run("jobs/submit.py", "--address", two_nodes.jobs, "--env", "A=1", "--", *train, *told)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "8 (resumed from 8)" in again.stdout
    measured = run(
        "jobs/submit.py", "--address", two_nodes.jobs, "--", "jobs/evaluate.py", "--run", str(tmp_path / "sent"),
        "--data", str(data), "--tracking", "none", "--device", "cpu",
    )  # fmt: skip
    assert measured.returncode == 0, measured.stdout + measured.stderr
    scores = json.loads((tmp_path / "sent" / "evaluation" / "test" / "scores.json").read_text())
    assert scores["split"] == "test"


@pytest.mark.cluster
def test_a_preparation_is_submitted(two_nodes: Running, tmp_path: Path) -> None:
    sizes = (
        "--num-views", "2", "--image-px", "32", "--samples", "500", "--cloud-points", "1000", "--surface-points", "500",
        "--iou-points", "5000", "--truth-resolution", "32", "--scan-views", "20", "--scan-px", "64",
    )  # fmt: skip
    made = run(
        "jobs/submit.py", "--address", two_nodes.jobs, "--", "jobs/prepare.py", "shapes", "--source", "procedural:4",
        "--out", str(tmp_path / "made"), *sizes, "--objects-per-shard", "2",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "4 objects" in made.stdout


@pytest.mark.cluster
def test_a_refused_job_ends_with_its_status_and_its_remedy(two_nodes: Running, data: Path, tmp_path: Path) -> None:
    words = ("jobs/train.py", "implicit/test", "--data", str(data), "--storage", str(tmp_path), "--tracking", "none")
    refused = run(
        "jobs/submit.py", "--address", two_nodes.jobs, "--", *words, "scale.workers=2", "scale.cpus_per_worker=2",
        "scale.wait_for_nodes_s=2",
    )  # fmt: skip
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "asked the cluster for 2 x (2 CPU), 2 x (0.5 CPU); up: 2 x (1 CPUs); waiting up to 2 s" in refused.stdout
    assert "each on one node" in refused.stdout
    assert "remedy: lower scale.workers" in refused.stdout


@pytest.mark.cluster
def test_a_submitted_job_is_left_running_and_stopped(two_nodes: Running) -> None:
    sent = run("jobs/submit.py", "--address", two_nodes.jobs, "--no-follow", "--", "sleep", "600")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    job = sent.stdout.split()[1]
    twice = run("jobs/submit.py", "--address", two_nodes.jobs, "--", "sleep", "600")
    assert twice.returncode == 2
    assert f"job {job} runs this very command" in twice.stdout
    stopped = run("jobs/submit.py", "--address", two_nodes.jobs, "--stop", job)
    assert f"job {job}: stopped" in stopped.stdout
    assert JobServer(two_nodes.jobs).follow(job, lambda text: None).exit_status > 0


@pytest.mark.cluster
@pytest.mark.parametrize("v2", [True, False])
def test_a_cluster_at_zero_starts_the_nodes_of_a_training(v2: bool, data: Path, tmp_path: Path) -> None:
    """Also of a sweep, on the nodes that the training has left."""
    with autoscaled_cluster({"cpu": {"resources": {"CPU": 1}, "max_workers": 2}}, v2=v2) as running:
        places = ("--data", str(data), "--storage", str(tmp_path), "--tracking", "none")
        trained = run(
            "jobs/train.py", "implicit/test", *places, "--name", "zero", "scale.workers=2", *QUICK,
            address=running.address,
        )  # fmt: skip
        assert trained.returncode == 0, trained.stdout + trained.stderr
        assert "asked the cluster for 4 x (0.5 CPU); up: no node with CPUs; waiting up to 600 s" in trained.stdout
        assert "the cluster has 2 x (1 CPUs)" in trained.stdout
        assert "training on CPUs (scale.gpu=auto)" in trained.stdout
        sweep = make_sweep(
            space={"model.weights.sdf": {"kind": "log_uniform", "low": 1.0, "high": 50.0}},
            overrides=[*QUICK[1:5]], resources={"workers": 0}, budget={"trials": 2, "steps": 8},
        )  # fmt: skip
        (tmp_path / "sweep.json").write_text(json.dumps(sweep.to_dict()))
        swept = run("tuning/sweep.py", str(tmp_path / "sweep.json"), *places, address=running.address)
        assert swept.returncode == 0, swept.stdout + swept.stderr
        assert "2 trials at once" in swept.stdout
