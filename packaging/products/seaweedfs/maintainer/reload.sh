reload_units() {
    if booted; then
        systemctl daemon-reload || :
    fi
}

# Programs that are there and read files of this package.
reload_others() {
    if booted; then
        if command -v augenrules >/dev/null; then
            augenrules --load >/dev/null 2>&1 || say "the audit rules hold after the next boot"
        fi
        if systemctl --quiet is-active fail2ban.service; then
            systemctl reload fail2ban.service || say "fail2ban was not reloaded: see journalctl -u fail2ban"
        fi
    fi
}
