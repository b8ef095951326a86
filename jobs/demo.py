"""``raylift demo`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import demo
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(demo.Arguments, demo.main, demo.__doc__))
