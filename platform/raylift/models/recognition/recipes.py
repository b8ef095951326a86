"""Recipes of the recognition networks: the multi-head ResNet, and Mask R-CNN with a pose head."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model
from raylift.models.entry import ModelEntry
from raylift.models.recognition.config import RecognitionConfig, RecognitionWeights, RegionsConfig, TrunkConfig
from raylift.networks.pose_bins import PoseBinsConfig

BEST_METRIC = "val/class_accuracy"
TEST_TRUNK = TrunkConfig(backbone="resnet18", width=8, channels=8)
QUICK_TRUNK = TrunkConfig(backbone="resnet18", width=16, channels=32)


def resnet_paper() -> Recipe:
    """ResNet-50 with ImageNet's weights at 256 pixels, 21 bins an angle: StarMap's baseline with all three tasks.

    For a GPU: ``raylift train recognition/resnet-paper --data DIR``.
    """
    return Recipe(
        name="recognition/resnet-paper",
        model=RecognitionConfig(
            trunk=TrunkConfig(pretrained="torchvision:resnet50"), pose=PoseBinsConfig(offsets=False)
        ),
        data=DataConfig(batch_size=32),
        optimizers={
            "default": OptimizerConfig(learning_rate=1e-4, weight_decay=1e-4, schedule=LearningRateConfig("cosine"))
        },
        schedule=ScheduleConfig(num_steps=60_000, eval_every=2000, checkpoint_every=1000, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
    )


def resnet_quick() -> Recipe:
    """A thin ResNet-18 at 128 pixels, for two CPU cores.

    ``raylift train recognition/resnet-quick --data DIR``; the model's README has the cost and the result.
    """
    return Recipe(
        name="recognition/resnet-quick",
        model=RecognitionConfig(
            image_px=128,
            trunk=QUICK_TRUNK,
            pose=PoseBinsConfig(num_bins=8),
            weights=RecognitionWeights(pose=3.0, pose_offset=3.0),
        ),
        data=DataConfig(batch_size=32),
        optimizers={
            "default": OptimizerConfig(learning_rate=1e-3, weight_decay=0.02, schedule=LearningRateConfig("cosine"))
        },
        schedule=ScheduleConfig(
            num_steps=1200, log_every=20, eval_every=200, checkpoint_every=200, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def resnet_test() -> Recipe:
    """The smallest ResNet: seconds, for tests."""
    return Recipe(
        name="recognition/resnet-test",
        model=RecognitionConfig(image_px=32, trunk=TEST_TRUNK, pose=PoseBinsConfig(num_bins=8)),
        data=DataConfig(batch_size=4),
        optimizers={"default": OptimizerConfig(learning_rate=3e-3)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def mask_rcnn_paper() -> Recipe:
    """torchvision's Mask R-CNN at 512 pixels on ResNet-50 with ImageNet's weights, 21 bins an angle.

    For a GPU: ``raylift train recognition/mask-rcnn-paper --data DIR``. Optimizer as in Mask R-CNN's reference.
    """
    return Recipe(
        name="recognition/mask-rcnn-paper",
        model=RecognitionConfig(
            network="mask_rcnn",
            image_px=512,
            trunk=TrunkConfig(pretrained="torchvision:resnet50"),
            pose=PoseBinsConfig(offsets=False),
        ),
        data=DataConfig(batch_size=16),
        optimizers={
            "default": OptimizerConfig(learning_rate=1e-4, weight_decay=1e-4, schedule=LearningRateConfig("cosine"))
        },
        schedule=ScheduleConfig(num_steps=90_000, eval_every=5000, checkpoint_every=1000, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
    )


def mask_rcnn_quick() -> Recipe:
    """A thin Mask R-CNN at 128 pixels, for two CPU cores.

    ``raylift train recognition/mask-rcnn-quick --data DIR``; the model's README has the cost and the result.
    """
    quick = resnet_quick()
    regions = RegionsConfig(64, 64, 32, 32, hidden=128, mask_channels=32, mask_layers=2)
    return replace(
        quick,
        name="recognition/mask-rcnn-quick",
        model=replace(quick.model, network="mask_rcnn", regions=regions),
        data=DataConfig(batch_size=16),
    )


def mask_rcnn_test() -> Recipe:
    """The smallest Mask R-CNN: seconds, for tests."""
    test = resnet_test()
    regions = RegionsConfig(32, 16, 8, 8, hidden=16, mask_channels=8, mask_layers=1)
    return replace(
        test,
        name="recognition/mask-rcnn-test",
        model=replace(test.model, network="mask_rcnn", regions=regions),
    )


def _build(config: RecognitionConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for torch models to load.
    if config.network == "mask_rcnn":
        from raylift.models.recognition.mask_rcnn import MaskRCNNRecogniser

        return MaskRCNNRecogniser(config, seed, info.categories)
    from raylift.models.recognition.resnet import ResNetRecogniser

    return ResNetRecogniser(config, seed, info.categories)


ENTRY = ModelEntry(
    "recognition",
    RecognitionConfig,
    _build,
    {
        "resnet-paper": resnet_paper,
        "resnet-quick": resnet_quick,
        "resnet-test": resnet_test,
        "mask-rcnn-paper": mask_rcnn_paper,
        "mask-rcnn-quick": mask_rcnn_quick,
        "mask-rcnn-test": mask_rcnn_test,
    },
)
