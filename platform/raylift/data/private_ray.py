"""Keeps a Ray that this process starts to itself: on the loopback interface, with a token.

Ray's own default listens on every interface. Whoever reaches an unprotected Ray runs code as its user, so both are
needed: the loopback keeps other machines out, and the token other users of this machine.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray._private import ray_constants
from ray._raylet import Config  # type: ignore[attr-defined]

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def private_ray() -> Iterator[None]:
    """What ``ray.init`` starts within this context listens on the loopback alone and asks clients for a token.

    An explicit RAY_AUTH_MODE, and a token that the user has (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or
    ``~/.ray/auth_token``), are kept. Otherwise the token is a random one in the environment of this process and its
    children, so nothing is written to the home folder.
    """
    require_token()
    # Ray binds to the loopback where it supports no clusters, which this switch says of Windows and macOS. Its
    # processes read it from their environment, this one has read it already.
    switch = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    kept = os.environ.get(switch), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[switch], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        os.environ.pop(switch)
        if kept[0] is not None:
            os.environ[switch] = kept[0]
        ray_constants.ENABLE_RAY_CLUSTER = kept[1]


def require_token() -> None:
    """Turn token authentication on in this process and its children, unless RAY_AUTH_MODE is set."""
    home = Path(os.path.expanduser("~"), ".ray", "auth_token")
    if os.environ.setdefault(MODE, "token") == "token" and not (
        os.environ.get(TOKEN) or os.environ.get(TOKEN_PATH) or home.is_file()
    ):
        os.environ[TOKEN] = secrets.token_hex(32)
    Config.initialize("")  # Ray reads the mode when it is imported
