"""``raylift fetch-weights`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import fetch_weights
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(fetch_weights.Arguments, fetch_weights.main, fetch_weights.__doc__))
