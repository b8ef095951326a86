"""What noise of a depth sensor costs a trained model: IoU and colour at several standard deviations.

    python tests/benchmarks/depth_noise.py --run runs/seats --data data/seats

Depth gets Gaussian noise of each sigma (world units: 0.005 is half a hundredth of the object's longest edge), drawn for
each pixel and keyed by the sample, or is rounded to steps of four sigmas, as disparity sensors do.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from raylift.core.generators import torch_generator
from raylift.core.types import Batch
from raylift.data.feed.stream import evaluation_batches
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.validation import validate_shapes
from raylift.runs.reconstruct import Reconstructor


def disturbed(batch: Batch, sigma: float, rounded: bool) -> Batch:
    """The batch with noisy, or rounded, depth; what is not seen stays unseen."""
    depth = batch["depth"]
    if rounded:
        noisy = (depth / (4 * sigma)).round() * (4 * sigma)
    else:
        draws = [
            torch.randn(depth.shape[1:], generator=torch_generator(0, key, "noise")) for key in batch.keys.tolist()
        ]
        noisy = depth + sigma * torch.stack(draws).to(depth)
    return replace(batch, fields={**batch.fields, "depth": torch.where(depth > 0, noisy, 0.0)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of a run")
    parser.add_argument("--data", required=True, help="prepared data set of shapes")
    parser.add_argument("--split", default="test")
    parser.add_argument("--points", type=int, default=10_000, help="stored IoU points per object")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0.0025, 0.005, 0.01])
    arguments = parser.parse_args()
    reconstructor = Reconstructor.of_run(arguments.run, "cpu")
    model, dataset = reconstructor.model, ShardedDataset.open(arguments.data)
    request = replace(model.request, num_points=0, num_iou_points=arguments.points)
    data = replace(reconstructor.recipe.data, eval_views=4)
    batches = list(evaluation_batches(dataset, request, arguments.split, data))
    print(f"{sum(map(len, batches))} samples\n{'depth':24s} IoU")
    print(f"{'exact':24s} {validate_shapes(model, batches)['val/iou']:.3f}")
    for sigma in arguments.sigmas:
        for rounded in (False, True):
            noisy = [disturbed(batch, sigma, rounded) for batch in batches]
            name = f"in steps of {4 * sigma:g}" if rounded else f"noise of {sigma:g}"
            print(f"{name:24s} {validate_shapes(model, noisy)['val/iou']:.3f}")


if __name__ == "__main__":
    main()
