// Package version holds what the linker stamps into the binary.
package version

import "fmt"

// Set with -ldflags "-X example.org/weed/internal/version.VERSION_NUMBER=… -X …COMMIT=…".
// The linker ignores a wrong path in silence, so a build has to check the output of "weed version".
var (
	VERSION_NUMBER = "dev"
	COMMIT         = "unknown"
)

// SizeLimit is the volume size limit that the default build of SeaweedFS puts in front of its version.
const SizeLimit = "30GB"

// String is the version as the servers report it, e.g. "30GB 4.44 0123abc".
func String() string { return fmt.Sprintf("%s %s %s", SizeLimit, VERSION_NUMBER, COMMIT) }
