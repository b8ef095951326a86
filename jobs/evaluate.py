"""``raylift evaluate`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import evaluate
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(evaluate.Arguments, evaluate.main, evaluate.__doc__))
