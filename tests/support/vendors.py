"""The vendors' stand-ins as the command that documents name: `python -m examples.vendors`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.documents import ROOT


@contextmanager
def vendors() -> Iterator[str]:
    """Run it on free ports; what it printed is a script that points an engine at them."""
    command = [sys.executable, "-m", "examples.vendors", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        try:
            yield "".join(said)
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            process.wait(30)
    assert process.returncode == 0, "the stand-ins did not end in peace"
