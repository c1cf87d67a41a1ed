#!/bin/sh
# Health of the instances of this host, for monitors: healthcheck.sh [NAME…] [--json] [--timeout SECONDS]
# Exit code: 0 ok, 1 warning, 2 critical, 3 unknown.
here=$(dirname "$(readlink -f "$0")")
for program in "$here/libexec/weed-healthcheck" "$here/weed-healthcheck"; do
    if [ -x "$program" ]; then
        "$program" "$@"
        code=$?
        # 126 and 127 are the shell's, 128 and more a signal's: nothing is known then.
        [ "$code" -le 3 ] || code=3
        exit "$code"
    fi
done
echo "WEED UNKNOWN - $here/libexec/weed-healthcheck is missing: reinstall the package"
exit 3
