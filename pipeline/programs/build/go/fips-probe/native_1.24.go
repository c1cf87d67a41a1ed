//go:build go1.24

package main

import (
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/sha256"
)

func init() {
	approved["HKDF-SHA-256"] = func() error { _, err := hkdf.Key(sha256.New, key, key, "", 32); return err }
	approved["PBKDF2-SHA-256"] = func() error {
		_, err := pbkdf2.Key(sha256.New, "a long enough password", key, 1000, 32)
		return err
	}
}

// native says what Go's own module is: whether it is on, whether it refuses what is not approved, and its version.
func native() (enabled, enforced bool, version string) {
	enforced, version = settings()
	return fips140.Enabled(), enforced, version
}
