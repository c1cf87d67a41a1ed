//go:build go1.26

package main

import "crypto/fips140"

func settings() (enforced bool, version string) { return fips140.Enforced(), fips140.Version() }
