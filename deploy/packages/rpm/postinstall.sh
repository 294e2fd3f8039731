# %post of RPM: $1 is 1 for an installation, 2 for an upgrade.
set -e

# The kubelet runs a copy of the plugin. An older one may not understand what this
# mirrorcred writes.
/usr/bin/mirrorcred plugin --refresh /usr/libexec/mirrorcred/mirror-credential-provider

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || :
	systemd-tmpfiles --create mirrorcred.conf || :
	# Nothing is started that did not run before.
	[ "$1" -lt 2 ] || systemctl try-restart mirrorcred.service || :
fi
