# Shared by the maintainer scripts of both formats: POSIX sh, safe to repeat, of use without a running systemd too.
# The script around it sets `package`, and what else it needs of `version`, `variant` and `fips`.

say() {
    printf '%s: %s\n' "$package" "$1" >&2
}

# Whether systemd runs here: it does not in a chroot, or where an image is made.
booted() {
    [ -d /run/systemd/system ]
}

# A value of the release that is installed now, or nothing.
installed() {
    [ ! -r /opt/weed/release ] || sed -n "s/^$1=//p" /opt/weed/release
}
