#!/bin/sh
# postrm of Debian: $1 is "remove" or "purge", or says that another version comes.
set -e
case "$1" in
remove | purge) [ ! -d /run/systemd/system ] || systemctl daemon-reload || : ;;
esac

# To purge is to remove the configuration too: the map, and the passwords beside it.
[ "$1" != purge ] || rm -rf /etc/mirrorcred /var/lib/mirrorcred /var/log/mirrorcred /run/mirrorcred
