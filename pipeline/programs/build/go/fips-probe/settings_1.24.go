//go:build go1.24 && !go1.26

package main

import (
	"os"
	"runtime/debug"
	"strings"
)

// settings reads what Go 1.24 and 1.25 have no function for: how the program was started, and how it was built.
func settings() (enforced bool, version string) {
	enforced = strings.Contains(","+os.Getenv("GODEBUG")+",", ",fips140=only,")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "GOFIPS140" {
				version, _, _ = strings.Cut(setting.Value, "-")
			}
		}
	}
	return enforced, version
}
