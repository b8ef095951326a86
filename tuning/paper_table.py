"""``raylift table`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import paper_table
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(paper_table.Arguments, paper_table.main, paper_table.__doc__))
