"""Send the records of a run whose MLflow server was unreachable: ``python -m raylift.tracking.catch_up FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from raylift.core.errors import DataError
from raylift.tracking.delivery import Delivery
from raylift.tracking.spool import Spool


def catch_up(folder: Path) -> int:
    """Send everything in a run's spool; returns the number of records sent.

    Raises:
        DataError: the folder holds no spool.
    """
    writers = sorted(folder.glob("writer-*/spool.sqlite"))
    if not writers or not (folder / "run.json").exists():
        raise DataError(
            f"{folder} holds no tracking spool", "use the tracking folder of a run, as named in its warning"
        )
    spools = [Spool(folder) for _ in writers]  # opened together, each claims another writer's folder
    sent = 0
    try:
        for spool in spools:
            pending = spool.num_unsent()
            Delivery(spool).send_pending()
            sent += pending - spool.num_unsent()
    finally:
        for spool in spools:
            spool.close()
    return sent


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(f"{__doc__}")
    print(f"{catch_up(Path(sys.argv[1]))} records sent")
