"""What the peers' work leaves behind, so that whoever measures sees how much is done: a byte for each execution."""

import os

_marks = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def done() -> None:
    """One more is done."""
    os.write(_marks, b".")
