"""What the fork server loads before it forks: the children's code, and a tie to the executor's life.

A child notices the executor's end in a thread, which code that never lets go of the interpreter (a runaway regular
expression, say) keeps from running. So the kernel ends the fork server with the executor, and each child with the fork
server. Linux only; elsewhere such a child outlives its executor.
"""

import sys

import runlane_executor.child  # noqa: F401  so that a fork has it already
from runlane_executor.leash import end_with_parent

if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    end_with_parent()
