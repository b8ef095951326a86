"""``python -m raylift``: the ``raylift`` command, where it is not on the path."""

import sys

from raylift.commands.main import main

sys.exit(main())
