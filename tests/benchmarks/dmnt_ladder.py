"""The ladder of the inference of neural textured meshes, on planted worlds whose truth is known, and its time by stage.

    PYTHONPATH=. python tests/benchmarks/dmnt_ladder.py [--images 32 --side 36 --categories 6 --noise 1.0]

Objects are random superquadrics with random textures ("smooth" or "white"), their features are noisy, and rectangles of
clutter hide them at levels L0 to L3. Distances vary by 40 % and offsets by a fifth of half the image, both unknown.

    (a)   category and shape known, the object alone: pi / 18 should be at least 99 %
    (b)   pose known, shape fitted, at L0 and L2: IoU should be at least 0.92, and above the undeformed
    (c)   category known, pose and shape fitted
    (d)   all unknown
    ... adam, levenberg, no outline, no price, one round, no shape    (d) with another setting, at L2

Columns: share of right categories; of poses within pi / 6 and pi / 18; median error in degrees; IoU of the amodal
outline, of the visible part, and of the amodal outline of the mean mask (a constant answer); share of pixels inside the
outline whose occlusion is right; seconds per image of CPU time.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args
from unittest import mock

import torch
from torch import Tensor

from raylift.metrics.pose import rotation_error_deg
from raylift.models.dmnt.inference import pipeline, recognition
from raylift.models.dmnt.inference.candidates import Candidates
from raylift.models.dmnt.inference.config import InferenceConfig, StartConfig
from raylift.models.dmnt.inference.evidence import Evidence
from raylift.models.dmnt.inference.objective import explain
from raylift.models.dmnt.inference.pipeline import Matcher, scene_of
from raylift.models.dmnt.inference.posterior import ClassPosterior
from raylift.models.dmnt.inference.refinement import adam_steps
from tests.models.dmnt.planted import LEVELS, Look, Pictures, World, pictures, world

STAGES = ("category_scores", "best_starts", "adam_steps", "levenberg_steps", "pixel_maps")
HEADER = f"{'':28s} class  pi/6  pi/18    med  amodal visible constant hidden  s/image"


def iou(first: Tensor, second: Tensor) -> float:
    return float(((first & second).sum((-1, -2)) / (first | second).sum((-1, -2)).clamp(min=1)).mean())


def settings() -> dict[str, InferenceConfig]:
    full = InferenceConfig(StartConfig(distances=(1.9, 2.2, 2.6), max_offset=0.2, offsets=3))
    return {
        "d": full,
        "d adam": replace(full, solver="adam"),
        "d levenberg": replace(full, solver="levenberg"),
        "d no outline": replace(full, silhouette_weight=0.0),
        "d no price": replace(full, occlusion_price=0.0),
        "d one round": replace(full, shape_rounds=1),
        "d no shape": replace(full, shape_steps=0),
    }


def measure(name: str, matcher: Matcher, seen: Pictures, known: bool) -> None:
    started = time.process_time()
    category = seen.category if known else None
    side = seen.amodal.shape[-1]
    posterior = ClassPosterior(0.01, 0.0)
    found, fits = recognition.recognise_features(matcher, posterior, seen.features, side, category)
    spent = (time.process_time() - started) / len(seen.category)
    error = rotation_error_deg(found.camera.rotation, seen.camera.rotation)
    mean = (seen.amodal.float().mean(0) > 0.5).expand_as(seen.amodal)
    inside = seen.amodal & (found.amodal[:, 0] > 0.5)
    hidden = (found.occluder > found.visible)[:, 0] == ~seen.visible
    values = (
        100 * float((fits.best.category == seen.category).float().mean()),
        100 * float((error < 30).float().mean()),
        100 * float((error < 10).float().mean()),
        float(error.median()),
        iou(found.amodal[:, 0] > 0.5, seen.amodal),
        iou(found.visible[:, 0] > 0.5, seen.visible),
        iou(mean, seen.amodal),
        100 * float(hidden[inside].float().mean()),
        spent,
    )
    print(
        f"{name:28s} {values[0]:5.0f} {values[1]:5.0f} {values[2]:6.0f} {values[3]:6.2f}  {values[4]:6.3f} "
        f"{values[5]:7.3f} {values[6]:8.3f} {values[7]:6.0f} {values[8]:8.2f}",
        flush=True,
    )


def rung_b(look: str, shown: World, matcher: Matcher, side: int, noise: float, images: int) -> None:
    for level in (0, 2):
        seen = pictures(shown, images, side, noise, LEVELS[level], deform=1.0)
        scene = scene_of(matcher, Evidence.of(seen.features, matcher.texture, matcher.banks))
        start = Candidates(torch.arange(images), seen.category, seen.camera, torch.zeros_like(seen.latent))
        rows = []
        for weight in (0.0, matcher.config.silhouette_weight):
            fitted, _ = adam_steps(
                replace(scene, silhouette_weight=weight),
                start,
                40,
                1e-6,
                shape_learning_rate=matcher.config.shape_learning_rate,
                prior_weight=matcher.config.prior_weight,
            )
            rows.append(iou(explain(scene, fitted).outline, seen.amodal))
        before = iou(explain(scene, start).outline, seen.amodal)
        print(f"{look} (b) L{level}: IoU undeformed {before:.3f}, fitted {rows[1]:.3f}, without outline {rows[0]:.3f}")


def timed(spent: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        result = function(*arguments, **options)
        spent[name] += time.process_time() - started
        return result

    return run


def stages(matcher: Matcher, seen: Pictures, shown: World, side: int) -> None:
    """CPU time by stage, of a second run so that nothing is compiled."""
    spent: dict[str, float] = defaultdict(float)
    started = time.process_time()
    Matcher.of(shown.texture, shown.templates, matcher.config, side)
    print(f"once per model: {time.process_time() - started:.2f} s for the table of {len(matcher.table.camera)} starts")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with (
        mock.patch.multiple(
            pipeline,
            **{name: timed(spent, name, getattr(pipeline, name)) for name in STAGES if hasattr(pipeline, name)},
        ),
        mock.patch.object(recognition, "pixel_maps", timed(spent, "pixel_maps", recognition.pixel_maps)),
    ):
        recognition.recognise_features(matcher, ClassPosterior(0.01, 0.0), seen.features, side)
    total, count = time.process_time() - started, len(seen.category)
    parts = ", ".join(f"{name} {1000 * spent[name] / count:.0f}" for name in STAGES)
    print(f"milliseconds of CPU per image: {parts}; all {1000 * total / count:.0f}")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = matcher.table.texels.numel() * matcher.table.texels.element_size() / 2**20
    print(f"memory: peak {after / 1024:.0f} MB ({(after - before) / 1024:.0f} more for this), table {table:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--side", type=int, default=36, help="side of the feature map; 36 has as many cells as 32 x 40")
    parser.add_argument("--categories", type=int, default=6)
    parser.add_argument("--noise", type=float, default=1.0, help="relative to features; 1 leaves a cosine of 0.7")
    parser.add_argument("--texels", type=int, default=32)
    parser.add_argument("--looks", nargs="+", choices=get_args(Look), default=get_args(Look))
    parser.add_argument("--channels", type=int, default=64)
    options = parser.parse_args()
    side, noise, images = options.side, options.noise, options.images
    for look in options.looks:
        shown = world(options.categories, look, options.texels, options.channels, 12)
        matchers = {
            name: Matcher.of(shown.texture, shown.templates, config, side) for name, config in settings().items()
        }
        print(HEADER)
        plain = Matcher.of(shown.texture, shown.templates, InferenceConfig(shape_steps=0), side)
        measure(f"{look} (a)", plain, pictures(shown, images, side, noise), known=True)
        rung_b(look, shown, matchers["d"], side, noise, images)
        for level, hidden in enumerate(LEVELS):
            seen = pictures(shown, images, side, noise, hidden, deform=1.0, distances=(1.8, 2.8), offset=0.2)
            measure(f"{look} (c) L{level}", matchers["d"], seen, known=True)
            for name, matcher in matchers.items():
                if name == "d" or level == 2:
                    measure(f"{look} ({name}) L{level}", matcher, seen, known=False)
        stages(matchers["d"], seen, shown, side)


if __name__ == "__main__":
    main()
