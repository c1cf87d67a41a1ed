# Before anything is unpacked: reasons not to begin, each with what to do. All are named before it refuses.

refuse() {
    say "$1"
    refused=yes
}

# Whether the release that is installed is of a later major version than this one.
goes_back() {
    old=$(installed VERSION)
    case "${old%%.*}" in
        '' | *[!0-9]*) return 1 ;;
        *) [ "${old%%.*}" -gt "${version%%.*}" ] ;;
    esac
}

check_settings() {
    found=$(settings | judge_settings)
    while IFS= read -r line; do
        [ -z "$line" ] || refuse "/etc/default/weed/weed.conf: $line; correct it first"
    done <<END
$found
END
}

# Old and new program exist together for a moment, so the space of one more is needed.
check_space() {
    free=$(df -Pk /opt 2>/dev/null | awk 'NR == 2 { print $4 }')
    case "$free" in
        '' | *[!0-9]*) ;;
        *) [ "$free" -ge 300000 ] || refuse "/opt has $((free / 1024)) MB free; 300 MB are needed: make room first" ;;
    esac
}

preflight() {
    refused=
    check_settings
    check_space
    if goes_back && [ ! -e /etc/weed/allow-downgrade ]; then
        refuse "$(installed VERSION) is installed, and $version may not be able to read its data"
        say "back up the data, then run 'touch /etc/weed/allow-downgrade' to go back all the same"
    fi
    case "$fips $(setting FIPS_ENABLED)" in
        'false '[Tt][Rr][Uu][Ee])
            refuse "this host asks for FIPS (FIPS_ENABLED in /etc/default/weed/weed.conf), and this is not that flavour"
            say "install the package whose name ends in -fips, or change that setting"
            ;;
    esac
    if command -v findmnt >/dev/null && findmnt --noheadings --output OPTIONS --target /opt | grep -q noexec; then
        refuse "/opt is mounted noexec, so nothing below it can run; mount it without that option"
    fi
    if [ -e /run/weed-rolling-restart.lock ] && ! flock --nonblock /run/weed-rolling-restart.lock true; then
        refuse "a rolling restart is under way; wait for its end"
    fi
    if [ -n "$refused" ]; then
        say "nothing was changed"
        exit 1
    fi
}
