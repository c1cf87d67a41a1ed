# Stops every instance, those first that need the others.
stop_instances() {
    if booted; then
        for role in s3 filer volume master; do
            systemctl stop "weed-$role@*.service" || say "not every weed-$role was stopped: see systemctl status"
        done
    fi
}
