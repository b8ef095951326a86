"""``raylift train`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import train
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(train.Arguments, train.main, train.__doc__))
