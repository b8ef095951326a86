"""``raylift inspect`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import inspect_data
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(inspect_data.Arguments, inspect_data.main, inspect_data.__doc__))
