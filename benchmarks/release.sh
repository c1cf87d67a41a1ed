#!/bin/bash
# The release of the example as a plain script: the same tools on the same files, $JOBS at once.
# Runs in a sandbox over the same root, with the source at /in/source and an empty, writable /tmp/scratch and /out.
set -eu
export GOMODCACHE=/tmp/scratch/mod GOCACHE=/tmp/scratch/cache GOPATH=/tmp/scratch/go GOTOOLCHAIN=local GOFLAGS=-mod=readonly HOME=/tmp/scratch
export PATH=/usr/local/go/bin:/usr/local/bin:/usr/local/sbin:/opt/syft:/opt/grype:/opt/trivy:/opt/grype-advisorydb:/opt/trivy-advisorydb:/usr/bin:/bin
export SYFT_CHECK_FOR_APP_UPDATE=false GRYPE_CHECK_FOR_APP_UPDATE=false GRYPE_DB_AUTO_UPDATE=false
export GRYPE_DB_CACHE_DIR=/tmp/scratch/db/grype GRYPE_DB_VALIDATE_AGE=false

build() { # arch suffix cgo experiment compiler tags linker-flags
  GOARCH=$1 CGO_ENABLED=$3 GOEXPERIMENT=$4 CC=$5 go build -trimpath -buildvcs=false "-tags=$6" \
    "-ldflags=-w -buildid= $7" -o "/out/weed-$1$2" .
}
reach() { # arch suffix cgo experiment compiler tags
  GOARCH=$1 CGO_ENABLED=$3 GOEXPERIMENT=$4 CC=$5 GOVERSION=$(go env GOVERSION | cut -d' ' -f1) GOGC=40 \
    govulncheck -db=file:///tmp/scratch/db/govulncheck/v1 -format=json "-tags=$6" . > "/tmp/scratch/reach-$1$2.json"
}
each() { ls weed-* | grep -v '\.' | xargs -P "$JOBS" -I{} bash -c "$1"; }
export -f build reach
export STATIC="-linkmode=external '-extldflags=-static -Wl,--build-id=none'"

cd /in/source
go mod download
mkdir -p /tmp/scratch/db/grype /tmp/scratch/db/trivy /tmp/scratch/db/govulncheck
grype-advisorydb -in /in/advisories -out /tmp/scratch/db/grype
trivy-advisorydb -in /in/advisories -out /tmp/scratch/db/trivy
govulncheck-advisorydb -in /in/advisories -out /tmp/scratch/db/govulncheck
printf '%s\n' \
  'build amd64 "" 0 "" gcc "" ""' \
  'build arm64 "" 0 "" gcc "" ""' \
  'build amd64 -fips 1 boringcrypto gcc netgo,osusergo "$STATIC"' \
  'build arm64 -fips 1 boringcrypto aarch64-linux-gnu-gcc netgo,osusergo "$STATIC"' \
  'reach amd64 "" 0 "" gcc ""' \
  'reach arm64 "" 0 "" gcc ""' \
  'reach amd64 -fips 1 boringcrypto gcc netgo,osusergo' \
  'reach arm64 -fips 1 boringcrypto aarch64-linux-gnu-gcc netgo,osusergo' > /tmp/scratch/builds
xargs -a /tmp/scratch/builds -d '\n' -P "$JOBS" -I{} bash -c '{}'

cd /out
each 'case {} in *arm64*) qemu-aarch64 ./{} version;; *) ./{} version;; esac > {}.proof; go version -m {} >> {}.proof'
each 'syft scan file:{} -q -o cyclonedx-json={}.cdx.json -o spdx-json={}.spdx.json'
each 'grype file:{} -o json --file {}.grype.json 2> /dev/null'
each 'd=$(mktemp -d /tmp/scratch/t.XXXX); cp {} $d/; cp -r /tmp/scratch/db/trivy $d.db; trivy rootfs --cache-dir $d.db --format json \
  --offline-scan -q --scanners vuln --skip-db-update --skip-java-db-update -o {}.trivy.json $d'
each 'tar --sort=name --owner=0 --group=0 -cf - {} {}.cdx.json {}.spdx.json | gzip -n > {}.tar.gz'
sha256sum weed-* > SHA256SUMS
sha512sum weed-* > SHA512SUMS
export GNUPGHOME=/tmp/scratch/gpg
mkdir -m 700 /tmp/scratch/gpg
gpg --batch -q --import /run/key
ls | xargs -P "$JOBS" -I{} gpg --batch -q --detach-sign --armor {}
gpgconf --kill all
