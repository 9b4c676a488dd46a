"""Starts a command that does not outlive its starter: `python -I -S tether.py STARTER_PID COMMAND…`. Used by `process`.

It asks the kernel for SIGKILL at the starter's death (Linux; elsewhere it only starts the command) and then becomes the
command. A process of its own instead of a `preexec_fn`, which is not safe in a starter that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    starter, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:
            raise SystemExit(1)  # it died before we asked
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
