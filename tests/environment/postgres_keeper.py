"""Stop a PostgreSQL server when nobody uses it any more.

    python -m tests.environment.postgres_keeper <users lock> <data folder>

Users hold the lock shared. The kernel gives up the locks of a process that is gone, also of one
that was killed, so the exclusive lock is granted exactly when the last user has left. It is kept
until the server is down: a new user waits for that and then starts it again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

_LONGEST_SHUTDOWN_SECONDS = 60


def main(users: Path, data: Path) -> None:
    pid_file = data / "postmaster.pid"
    with users.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        deadline = time.monotonic() + _LONGEST_SHUTDOWN_SECONDS
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
            # SIGINT is PostgreSQL's fast shutdown: it ends its sessions and closes cleanly.
            os.kill(pid, signal.SIGINT)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        # The file, not the process: that one stays visible until its parent has looked.
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
