// Command trivy-advisorydb turns a directory of OSV advisories into a vulnerability database for trivy, schema 2.
//
// Trivy reads the result with --cache-dir naming the -out directory, in which the database is the folder "db".
package main

import (
	"os"

	"pipeline.internal/tools/osv"
)

func main() {
	os.Exit(osv.Main(os.Args[1:], os.Stderr, "trivy", "db", convert))
}
