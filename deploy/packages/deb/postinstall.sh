#!/bin/sh
# postinst of Debian: $1 is "configure", and $2 the version before, if any.
set -e
[ "$1" = configure ] || exit 0

# The kubelet runs a copy of the plugin. An older one may not understand what this
# mirrorcred writes.
/usr/bin/mirrorcred plugin --refresh /usr/libexec/mirrorcred/mirror-credential-provider

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || :
	systemd-tmpfiles --create mirrorcred.conf || :
	# Nothing is started that did not run before.
	[ -z "$2" ] || systemctl try-restart mirrorcred.service || :
fi
