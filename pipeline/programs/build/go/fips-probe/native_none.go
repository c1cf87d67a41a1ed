//go:build !go1.24

package main

// native says that this Go has no module of its own: the first one is in Go 1.24.
func native() (enabled, enforced bool, version string) { return false, false, "" }
