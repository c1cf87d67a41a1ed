# Before anything is unpacked: reasons not to begin, each with what to do. All are named before it refuses.

refuse() {
    say "$1"
    refused=yes
}

# The last value of a setting of this host, or nothing.
setting() {
    [ ! -r /etc/default/weed/weed.conf ] ||
        sed -n "s/^[[:space:]]*$1=//p" /etc/default/weed/weed.conf | tail -n 1 | tr -d "\"'[:space:]"
}

# Whether the release that is installed is of a later major version than this one.
goes_back() {
    old=$(installed VERSION)
    case "${old%%.*}" in
        '' | *[!0-9]*) return 1 ;;
        *) [ "${old%%.*}" -gt "${version%%.*}" ] ;;
    esac
}

check_setting() {
    value=$(setting "$1")
    case "$value" in
        '') ;;
        *[!0-9]* | ??????*) refuse "/etc/default/weed/weed.conf: $1 is '$value', which is no number; correct it first" ;;
        *) [ "$value" -le "$2" ] || refuse "/etc/default/weed/weed.conf: $1 is $value; at most $2 is possible" ;;
    esac
}

# Every key that weed.conf of this release may have.
known_keys="
    MASTER_INSTANCES VOLUME_INSTANCES FILER_INSTANCES S3_INSTANCES FIPS_ENABLED ADDRESS BIND_ADDRESS
    MASTER_PORT VOLUME_PORT FILER_PORT S3_PORT MASTER_METRICS_PORT VOLUME_METRICS_PORT FILER_METRICS_PORT
    S3_METRICS_PORT MASTER_PEERS FILER_PEERS MASTER_DATA_DIR VOLUME_DATA_DIRS FILER_DATA_DIR VOLUME_MAX
    VOLUME_SIZE_LIMIT_MB REPLICATION DATA_CENTER RACK S3_PROXY_PORT S3_PROXY_ADDRESS S3_PROXY_TLS_CERT
    S3_RATE_LIMIT
"

# The instances would not start with a key that this release does not know.
check_keys() {
    [ -r /etc/default/weed/weed.conf ] || return 0
    unknown=$(sed -n 's/^[[:space:]]*\([^#;=[:space:]]*\)[[:space:]]*=.*/\1/p' /etc/default/weed/weed.conf |
        grep -vxF "$(echo "$known_keys" | tr -s ' ' '\n')" | tr '\n' ' ') || :
    [ -z "$unknown" ] ||
        refuse "/etc/default/weed/weed.conf: $version does not know: $unknown- remove or correct that first"
}

# Old and new program are there together for a moment, so the space of one more is needed.
check_space() {
    free=$(df -Pk /opt 2>/dev/null | awk 'NR == 2 { print $4 }')
    case "$free" in
        '' | *[!0-9]*) ;;
        *) [ "$free" -ge 300000 ] || refuse "/opt has $((free / 1024)) MB free; 300 MB are needed: make room first" ;;
    esac
}

preflight() {
    refused=
    check_keys
    check_space
    if goes_back && [ ! -e /etc/weed/allow-downgrade ]; then
        refuse "$(installed VERSION) is installed, and $version may not be able to read its data"
        say "back up the data, then run 'touch /etc/weed/allow-downgrade' to go back all the same"
    fi
    if [ "$fips" = false ] && [ "$(setting FIPS_ENABLED)" = true ]; then
        refuse "this host asks for FIPS (FIPS_ENABLED=true in /etc/default/weed/weed.conf), and this is not that flavour"
        say "install the package whose name ends in -fips, or change that setting"
    fi
    for name in MASTER_INSTANCES VOLUME_INSTANCES FILER_INSTANCES S3_INSTANCES; do
        check_setting "$name" 99
    done
    # The gRPC port of an instance is its port + 10000.
    for name in MASTER_PORT VOLUME_PORT FILER_PORT S3_PORT; do
        check_setting "$name" 55535
    done
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
