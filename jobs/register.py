"""``raylift register`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import register
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(register.Arguments, register.main, register.__doc__))
