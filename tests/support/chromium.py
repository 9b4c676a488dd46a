"""Where Chromium is, for tests of the console; says how to get it where there is none."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """The program. RUNLANE_CHROMIUM names another one. Raises `AssertionError` with instructions."""
    found = os.environ.get("RUNLANE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "The tests of the console need Chromium: run scripts/install_chromium.sh, or set RUNLANE_CHROMIUM."
    return found
