#!/bin/sh
# Makes sure that there is a redis-server for `make test`: Debian's and Ubuntu's own package, if there is none yet.
set -eu

if [ -n "${RUNLANE_REDIS_SERVER:-}" ]; then
    [ -x "$RUNLANE_REDIS_SERVER" ] && exit 0
    echo "RUNLANE_REDIS_SERVER=$RUNLANE_REDIS_SERVER is no program." >&2
    exit 1
fi
for name in redis-server valkey-server; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then
    echo "There is no redis-server and no apt-get: install Redis or Valkey, or name one in RUNLANE_REDIS_SERVER." >&2
    exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
echo "Installing redis-server (some 6 MB) with apt-get."
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y redis-server >/dev/null
