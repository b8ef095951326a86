"""A training step through Ray against a bare torchrun DDP loop of the same model and samples, and 1 -> 2 workers.

    python tests/benchmarks/step.py
    python tests/benchmarks/step.py --recipe implicit/quick --data data/seats --steps 60

The bare loop is what one would write by hand: DistributedDataParallel, AdamW, a gradient clip, samples loaded in the
same process. Through Ray there are Ray Data's loaders beside the workers, the check that all is finite, metrics,
reports and checkpoints. Medians over the logged steps after a warm-up, all from one run of this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ray's workers step back for everything else by default; the bare loop does not.
os.environ.setdefault("RAY_worker_niceness", "0")

import torch

from raylift.config.recipe import Recipe
from raylift.core import collectives
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.data.feed.stream import SampleStream
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue

WARM_UP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="implicit/quick")
    parser.add_argument("--data", default="", help="a prepared data set; procedural chairs are prepared otherwise")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--bare", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare_loop(options.recipe, options.data, options.steps, Path(options.bare))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or prepare(f"{scratch}/data")
        figures = {
            "bare torchrun, 1 worker": torchrun(options.recipe, data, options.steps, 1, scratch),
            "bare torchrun, 2 workers": torchrun(options.recipe, data, options.steps, 2, scratch),
            "through Ray, 1 worker": through_ray(options.recipe, data, options.steps, 1, scratch),
            "through Ray, 2 workers": through_ray(options.recipe, data, options.steps, 2, scratch),
        }
    batch = catalogue.get(options.recipe).data.batch_size
    print(f"{options.recipe}, global batch {batch}, {os.cpu_count()} cores, median of {options.steps} steps")
    for name, seconds in figures.items():
        print(f"  {name:26s} {1e3 * seconds:8.1f} ms a step  {batch / seconds:8.1f} samples/s")
    for workers in ("1 worker", "2 workers"):
        ratio = figures[f"through Ray, {workers}"] / figures[f"bare torchrun, {workers}"]
        print(f"  Ray / bare, {workers}: {ratio:.2f}x the time of a step")
    speed_up = figures["through Ray, 1 worker"] / figures["through Ray, 2 workers"]
    print(f"  1 -> 2 workers through Ray: {speed_up:.2f}x as fast")


def prepare(folder: str) -> str:
    """Twenty-four procedural chairs."""
    from raylift.data.prepare.ingest import ingest
    from raylift.data.shapes.config import TINY
    from raylift.data.sources.opening import open_source

    ingest([open_source("procedural:24")], folder, TINY, parallel="none")
    return folder


def recipe_for(name: str, steps: int, workers: int) -> Recipe:
    """The recipe without evaluations, and with one checkpoint, at the end."""
    total = steps + WARM_UP
    return catalogue.get(
        name,
        [
            f"schedule.num_steps={total}", "schedule.log_every=1", "schedule.eval_every=0", "evaluation.panels=0",
            f"schedule.checkpoint_every={total}", f"scale.workers={workers}", "scale.cpus_per_worker=0.5",
            "scale.data_cpus=0.25", "scale.gpu=never",
        ],
    )  # fmt: skip


def torchrun(name: str, data: str, steps: int, workers: int, scratch: str) -> float:
    """Median seconds a step of the bare loop."""
    out = f"{scratch}/bare-{workers}.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}", __file__]
    command += ["--recipe", name, "--data", data, "--steps", str(steps), "--bare", out]
    subprocess.run(command, check=True)
    return statistics.median(json.loads(Path(out).read_text()))


def bare_loop(name: str, data: str, steps: int, out: Path) -> None:
    """One rank of the loop that one would write by hand."""
    # torch.distributed is the core's alone in the package; a loop without the package has no choice.
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    recipe = recipe_for(name, steps, collectives.world_size())
    model = catalogue.build_model(recipe)
    stream = SampleStream(ShardedDataset.open(data), model.request, recipe.data, recipe.seed)
    total = steps + WARM_UP

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Batch, step_info: StepInfo) -> torch.Tensor:
            terms = model.losses(model.phases[0].name, batch, step_info, {}).terms
            return torch.stack([term.weight * term.share for term in terms]).sum()

    model = torch.nn.parallel.DistributedDataParallel(Loss())
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.optimizers["default"].learning_rate)
    seconds = []
    started = time.perf_counter()
    for step, batch in enumerate(stream.batches(collectives.rank(), collectives.world_size(), 0, total)):
        optimizer.zero_grad(set_to_none=True)
        (model(batch, StepInfo(step, total)) * dist.get_world_size()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        now = time.perf_counter()
        seconds.append(now - started)
        started = now
    if dist.get_rank() == 0:
        out.write_text(json.dumps(seconds[WARM_UP:]))
    dist.destroy_process_group()


def through_ray(name: str, data: str, steps: int, workers: int, scratch: str) -> float:
    """Median seconds a step through Ray Train and Ray Data."""
    from raylift.runs.train import train
    from raylift.training.loop import RunProgress

    seconds: dict[int, float] = {}

    def note(report: RunProgress) -> None:
        if "throughput/step_s" in report.metrics:
            seconds[report.step] = report.metrics["throughput/step_s"]

    train(recipe_for(name, steps, workers), data, f"{scratch}/runs", f"bench-{workers}", progress=note)
    return statistics.median(value for step, value in seconds.items() if step > WARM_UP)


if __name__ == "__main__":
    main()
