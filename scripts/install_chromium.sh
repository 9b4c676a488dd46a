#!/bin/sh
# Makes sure that there is a Chromium for `make test-console`: Debian's and Ubuntu's own package, if there is none yet.
set -eu

if [ -n "${RUNLANE_CHROMIUM:-}" ]; then
    [ -x "$RUNLANE_CHROMIUM" ] && exit 0
    echo "RUNLANE_CHROMIUM=$RUNLANE_CHROMIUM is no program." >&2
    exit 1
fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then
    echo "There is no Chromium and no apt-get: install Chromium, or name one in RUNLANE_CHROMIUM." >&2
    exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
echo "Installing Chromium (some 130 MB) with apt-get."
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y chromium fonts-dejavu-core >/dev/null
