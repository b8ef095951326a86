"""``raylift prepare`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import prepare
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(prepare.Arguments, prepare.main, prepare.__doc__))
