#!/bin/sh
# Before the package's files go, and not when a newer one takes their place: the service ends. What it has stored stays.
set -e
case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now bridge.service
	fi
	;;
esac
