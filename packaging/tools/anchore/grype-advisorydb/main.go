// Command grype-advisorydb turns a directory of OSV advisories into a vulnerability database for grype, schema 6.
//
// Grype reads the result with GRYPE_DB_CACHE_DIR naming the -out directory, in which the database is the folder "6".
package main

import (
	"os"

	"pipeline.internal/tools/osv"
)

func main() {
	os.Exit(osv.Main(os.Args[1:], os.Stderr, "grype", "6", convert))
}
