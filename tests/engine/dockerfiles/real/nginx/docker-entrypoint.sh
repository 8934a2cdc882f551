#!/bin/sh
set -e
find /docker-entrypoint.d/ -follow -type f -print | sort -V | while read -r f; do
  [ -x "$f" ] && "$f" > /var/log/web/access.log
done
exec "$@"
