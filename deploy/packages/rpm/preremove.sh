# %preun of RPM: $1 is 0 for a removal, 1 before another version.
set -e
[ "$1" = 0 ] || exit 0

# A kubelet whose configuration names the plugin does not start without it.
/usr/bin/mirrorcred plugin --unused

if command -v systemctl >/dev/null; then
	systemctl disable mirrorcred.service mirrorcred-apply.service || :
	[ ! -d /run/systemd/system ] || systemctl stop mirrorcred.service mirrorcred-apply.service mirrorcred-deliver.path mirrorcred-deliver.service || :
fi
