"""``raylift sweep`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import sweep
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(sweep.Arguments, sweep.main, sweep.__doc__))
