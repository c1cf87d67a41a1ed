# Enables and starts the instances that the configuration asks for. A mistake there is no reason to leave the package
# half installed: it is said, and the instances that run go on.
apply_instances() {
    weed-instances apply ||
        say "the instances were not changed: run 'weed doctor', correct what it names, then 'weed-instances apply'"
}

# After an upgrade, instances run the old program until somebody restarts them.
after_upgrade() {
    booted || return 0
    if [ -e /etc/weed/restart-on-upgrade ]; then
        for role in master volume filer s3; do
            systemctl try-restart "weed-$role@*.service" || say "not every weed-$role was restarted: see systemctl --failed"
        done
    elif [ -n "$(systemctl list-units --no-legend --plain --state=active 'weed-*@*.service')" ]; then
        say "the running instances still are of the old version: run 'weed-rolling-restart' when it suits"
    fi
}
