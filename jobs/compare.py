"""``raylift compare`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import compare
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(compare.Arguments, compare.main, compare.__doc__))
