// Command govulncheck-advisorydb turns a directory of OSV advisories into a vulnerability database for govulncheck.
//
// The layout is https://go.dev/security/vuln/database#api, version 1. Govulncheck reads the result with
// -db file:///DIRECTORY/v1, where DIRECTORY is what -out names.
package main

import (
	"flag"
	"io"
	"os"

	"pipeline.internal/tools/osv"
)

func main() {
	arguments := os.Args[1:]
	convert := func(job osv.Job) (osv.Report, error) { return convert(job, input(arguments)) }
	os.Exit(osv.Main(arguments, os.Stderr, "govulncheck", "v1", convert))
}

// input returns the directory that -in names. The shared reader keeps what every scanner needs; the symbols, which only
// this one needs, are read from the same files again.
func input(arguments []string) string {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	in := flags.String("in", "", "")
	for _, name := range []string{"out", "built", "source"} {
		flags.String(name, "", "")
	}
	flags.Bool("strict", false, "")
	_ = flags.Parse(arguments) // osv.Main has parsed the same and stopped at errors
	return *in
}
