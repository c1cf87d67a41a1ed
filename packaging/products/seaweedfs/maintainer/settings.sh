# weed.conf of this host as the servers read it, but without comments, and without blanks and quotes around the values.
settings() {
    [ ! -r /etc/default/weed/weed.conf ] ||
        LC_ALL=C sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d' -e '/^[#;]/d' \
            -e 's/[[:space:]]*=[[:space:]]*/=/' -e "s/^\([^=]*=\)\([\"']\)\(.*\)\2\$/\1\3/" /etc/default/weed/weed.conf
}

# The last value of a setting of this host, or nothing.
setting() {
    settings | sed -n "s/^$1=//p" | tail -n 1
}

# Says what is wrong with the settings that it reads, a line each. These are the rules of this release's own weedops,
# which is not on the host yet; a test holds both to the same verdicts. The release that is installed is not asked: it
# may not know what this one allows, and an upgrade may be the fix.
judge_settings() {
    LC_ALL=C awk -v "version=$version" '
        function number(names, low, high) {
            count = split(names, list, " ")
            for (at = 1; at <= count; at++) { least[list[at]] = low; most[list[at]] = high }
        }
        function text(names, expression, what) {
            count = split(names, list, " ")
            for (at = 1; at <= count; at++) { pattern[list[at]] = "^(" expression ")$"; meant[list[at]] = what }
        }
        function wrong(what) { print what; mistakes++ }
        function check_number(key, is) {
            if (is !~ /^(0|[1-9][0-9]*)$/)
                wrong(key " is \047" is "\047, not a number from " least[key] " to " most[key])
            else if (length(is) > 10 || is + 0 > most[key]) wrong(key " is " is "; at most " most[key] " is possible")
            else if (is + 0 < least[key]) wrong(key " is " is "; at least " least[key] " is needed")
        }
        function check_peers(key, count, at, list) {
            count = split(value[key], list, ",")
            for (at = 1; at <= count; at++) {
                gsub(/^[ \t]+|[ \t]+$/, "", list[at])
                if (list[at] != "" && list[at] !~ peer)
                    wrong(key " has \047" list[at] "\047, which is not host:port; commas separate several")
            }
        }
        function listens(port, who, key) {
            if (port > 65535) wrong(who " would listen on port " port ": choose a lower " key)
            else if (port in holder) wrong(holder[port] " and " who " would both listen on port " port)
            else holder[port] = who
        }
        # As posixpath.normpath.
        function tidy(path, count, parts, at, depth, kept, made) {
            count = split(path, parts, "/")
            depth = 0
            for (at = 1; at <= count; at++)
                if (parts[at] == "..") { if (depth) depth-- }
                else if (parts[at] != "" && parts[at] != ".") kept[++depth] = parts[at]
            made = ""
            for (at = 1; at <= depth; at++) made = made "/" kept[at]
            return depth ? made : "/"
        }
        function inside(path, folder) { return path == folder || folder == "/" || index(path, folder "/") == 1 }
        function keeps(path, who, at) {
            for (at = 1; at <= places; at++)
                if (inside(path, "/" place[at])) wrong(who ": " path " is below /" place[at] ", where no data can be")
            for (at = 1; at <= kept_count; at++)
                if (inside(path, kept_at[at]) || inside(kept_at[at], path))
                    wrong(kept_by[at] " has its data in " kept_at[at] " and " who " in " path)
            kept_at[++kept_count] = path
            kept_by[kept_count] = who
        }
        function or_else(key, otherwise) { return key in value ? value[key] : otherwise }
        function instances(role, port, metrics, data, name, many, at, count, parts, each) {
            name = toupper(role)
            many = or_else(name "_INSTANCES", 2)
            port = or_else(name "_PORT", port)
            metrics = or_else(name "_METRICS_PORT", metrics)
            count = split(data, parts, ",")
            for (at = 1; at <= many; at++) {
                listens(port + at - 1, role "-" at " (http)", name "_PORT")
                listens(port + at - 1 + 10000, role "-" at " (grpc)", name "_PORT")
                if (metrics + 0) listens(metrics + 100 * (at - 1), role "-" at " (metrics)", name "_METRICS_PORT")
                for (each = 1; each <= count; each++) {
                    path = parts[each]
                    gsub(/^[ \t]+|[ \t]+$/, "", path)
                    gsub(/%i/, at, path)
                    if (path != "") keeps(tidy(path), role "-" at)
                }
            }
        }
        function everywhere(address) { return address == "0.0.0.0" || address == "::" || address == "[::]" }
        BEGIN {
            host = "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:]+\\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*"
            path = "/([A-Za-z0-9._/@+-]|%i)*"
            peer = "^(" host "):[1-9][0-9]?[0-9]?[0-9]?[0-9]?$"
            places = split("home root run tmp var/tmp dev proc sys etc opt/weed", place, " ")
            number("MASTER_INSTANCES VOLUME_INSTANCES FILER_INSTANCES S3_INSTANCES", 0, 99)
            number("MASTER_PORT VOLUME_PORT FILER_PORT S3_PORT", 1, 55535)
            number("MASTER_METRICS_PORT VOLUME_METRICS_PORT FILER_METRICS_PORT S3_METRICS_PORT", 0, 65535)
            number("S3_PROXY_PORT", 0, 65535)
            number("VOLUME_MAX S3_RATE_LIMIT", 0, 1000000)
            number("VOLUME_SIZE_LIMIT_MB", 1, 8000000)
            text("FIPS_ENABLED", "[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]", "true or false")
            text("ADDRESS", host, "a host name or an address")
            text("BIND_ADDRESS S3_PROXY_ADDRESS", "(" host ")?", "a host name, an address, or empty")
            text("MASTER_PEERS FILER_PEERS", ".*", "")
            text("MASTER_DATA_DIR FILER_DATA_DIR", path, "an absolute path")
            text("VOLUME_DATA_DIRS", path "(,[ \t]*" path ")*", "absolute paths with commas between them")
            text("REPLICATION", "[0-9][0-9][0-9]", "three digits, as 000 or 001")
            text("DATA_CENTER RACK", "[A-Za-z0-9._-]*", "letters, digits, dots and dashes")
            text("S3_PROXY_TLS_CERT", "(/[A-Za-z0-9._/@+-]*)?", "an absolute path, or empty")
        }
        {
            at = index($0, "=")
            key = substr($0, 1, at - 1)
            if (!at) wrong("the line \047" $0 "\047 is not KEY=VALUE")
            else if (key in most || key in pattern) value[key] = substr($0, at + 1)
            else wrong(version " does not know: " key)
        }
        END {
            for (key in most) if (key in value) check_number(key, value[key])
            for (key in pattern)
                if (key in value && value[key] !~ pattern[key])
                    wrong(key " is \047" value[key] "\047, not " meant[key])
            check_peers("MASTER_PEERS")
            check_peers("FILER_PEERS")
            # Defaults among what follows: of other values, only sound ones are compared.
            if (mistakes) exit
            bind = or_else("BIND_ADDRESS", "")
            if (bind == "") bind = or_else("ADDRESS", "127.0.0.1")
            front = or_else("S3_PROXY_ADDRESS", "")
            port = or_else("S3_PROXY_PORT", 8300)
            shared = front == "" || front == bind || everywhere(front) || everywhere(bind)
            if (port + 0 && or_else("S3_INSTANCES", 2) + 0 && shared)
                listens(port + 0, "HAProxy (S3_PROXY_PORT)", "S3_PROXY_PORT")
            instances("master", 9333, 9324, or_else("MASTER_DATA_DIR", "/var/lib/weed/master-%i"))
            instances("volume", 8080, 9325, or_else("VOLUME_DATA_DIRS", "/var/lib/weed/volume-%i"))
            instances("filer", 8888, 9326, or_else("FILER_DATA_DIR", "/var/lib/weed/filer-%i"))
            instances("s3", 8333, 9327, "")
        }
    '
}
