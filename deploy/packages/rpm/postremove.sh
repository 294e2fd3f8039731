# %postun of RPM. The map, and what mirrorcred wrote, stay: RPM has no purge.
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
