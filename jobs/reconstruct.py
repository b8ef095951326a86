"""``raylift reconstruct`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import reconstruct
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(reconstruct.Arguments, reconstruct.main, reconstruct.__doc__))
