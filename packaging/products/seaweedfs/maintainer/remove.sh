# Removes what `weed-instances apply` has made and no package owns.
remove_generated() {
    find /etc/systemd/system -xdev -type l \
        \( -lname '*/weed-master@.service' -o -lname '*/weed-volume@.service' -o -lname '*/weed-filer@.service' \
        -o -lname '*/weed-s3@.service' -o -lname '*/weed.target' \) -exec rm -f {} + 2>/dev/null || :
    for role in master volume filer s3; do
        rmdir "/etc/systemd/system/weed-$role.target.wants" 2>/dev/null || :
        rm -f "/etc/systemd/system/weed-$role@.service.d/50-paths.conf"
        rmdir "/etc/systemd/system/weed-$role@.service.d" 2>/dev/null || :
    done
    rm -f /etc/apparmor.d/tunables/weed.d/instances
    rmdir /etc/apparmor.d/tunables/weed.d 2>/dev/null || :
    rm -rf /run/weed /run/weed-rolling-restart.lock
    if [ -e /etc/haproxy/conf.d/weed-s3.cfg ]; then
        rm -f /etc/haproxy/conf.d/weed-s3.cfg
        if ! command -v haproxy >/dev/null; then
            rmdir /etc/haproxy/conf.d /etc/haproxy 2>/dev/null || :
        elif booted && systemctl --quiet is-active haproxy.service; then
            # Its reload checks the configuration first, and keeps the old one when that fails.
            systemctl reload haproxy.service || say "haproxy was not reloaded: see journalctl -u haproxy"
        fi
    fi
    reload_units
}
