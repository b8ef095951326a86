"""``raylift submit`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import submit
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(submit.Arguments, submit.main, submit.__doc__))
