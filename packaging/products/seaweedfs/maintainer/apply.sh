# The instances that run now, of whatever version and flavour.
running_instances() {
    if booted; then
        systemctl list-units --no-legend --plain --state=active,activating,reloading 'weed-*@*.service' | sed 's/ .*//'
    fi
}

# Enables and starts the instances that the configuration asks for. A mistake there is no reason to leave the package
# half installed: it is reported, and the running instances continue.
apply_instances() {
    weed-instances apply ||
        say "not everything was done: run 'weed doctor', correct what it names, then 'weed-instances apply'"
}

# The instances $1 ran before this package came; they keep the old program until somebody restarts them. $2 is
# empty when nothing is known of an earlier version of this package: so they are of the other flavour.
after_change() {
    old=
    for unit in $1; do
        ! systemctl --quiet is-active "$unit" || old=yes
    done
    if [ -z "$old" ]; then
        return 0
    elif [ -e /etc/weed/restart-on-upgrade ]; then
        for role in master volume filer s3; do
            systemctl try-restart "weed-$role@*.service" ||
                say "not every weed-$role was restarted: see systemctl --failed"
        done
    elif [ -n "$2" ]; then
        say "the running instances still are of the old version or flavour: run 'weed-rolling-restart' when it suits"
    else
        say "the running instances still are of the other flavour: run 'weed-rolling-restart' when it suits"
        [ "$fips" = false ] || say "until then FIPS does not hold for them"
    fi
}
