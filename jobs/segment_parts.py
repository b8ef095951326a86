"""``raylift segment-parts`` as a script, for ``ray job submit`` from a checkout."""

import sys

from raylift.commands import segment_parts
from raylift.console import run_job

if __name__ == "__main__":
    sys.exit(run_job(segment_parts.Arguments, segment_parts.main, segment_parts.__doc__))
