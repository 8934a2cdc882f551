#!/bin/sh
set -e
if [ "$1" = 'redis-server' ] && [ "$(id -u)" = '0' ]; then
	exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
if [ "$1" = 'redis-server' ]; then
	echo "serving as $(id -un) in $(pwd)"
	exec cat /usr/local/share/built
fi
exec "$@"
