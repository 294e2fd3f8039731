#!/bin/sh
# prerm of Debian: $1 is "remove", or "upgrade" before another version.
set -e
case "$1" in
remove | deconfigure) ;;
*) exit 0 ;;
esac

# A kubelet whose configuration names the plugin does not start without it.
/usr/bin/mirrorcred plugin --unused

if command -v systemctl >/dev/null; then
	systemctl disable mirrorcred.service mirrorcred-apply.service || :
	[ ! -d /run/systemd/system ] || systemctl stop mirrorcred.service mirrorcred-apply.service mirrorcred-deliver.path mirrorcred-deliver.service || :
fi
