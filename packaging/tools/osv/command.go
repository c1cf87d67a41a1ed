package osv

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Job is what a converter is asked to do.
type Job struct {
	Set Set
	// Built is the age of the database to be: what a scanner measures when it looks for a stale one. UTC, whole seconds.
	Built time.Time
	// Source names where the advisories come from, in the scanner's reports.
	Source string
	// Directory is empty and is where the database goes.
	Directory string
}

// Report is what became of the advisories.
type Report struct {
	// Written counts the advisories that are in the database, each at most once.
	Written int
	// Skipped says why others are not, by their id.
	Skipped map[string]string
}

// Skip records that (a part of) an advisory has no place in the database.
func (r *Report) Skip(id, format string, arguments ...any) {
	if r.Skipped == nil {
		r.Skipped = map[string]string{}
	}
	r.Skipped[id] = fmt.Sprintf(format, arguments...)
}

// Converter writes a database in a scanner's own format.
type Converter func(Job) (Report, error)

const usage = `usage: %s -in DIRECTORY -out DIRECTORY [-built TIME] [-source NAME] [-strict]

Turns the OSV advisories (*.json, https://ossf.github.io/osv-schema/) below one directory
into a vulnerability database for %s in another.

`

// Main is the command line that the converters share. It returns the exit code: 0 for success, 1 for advisories or files
// that are no good, 2 for wrong arguments.
//
// The converter writes into a directory beside its destination; `name` (such as "db") appears there whole or not at all.
func Main(arguments []string, stderr io.Writer, scanner, name string, convert Converter) int {
	program := scanner + "-advisorydb"
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, usage, program, scanner)
		flags.PrintDefaults()
	}
	in := flags.String("in", "", "the `directory` with the advisories")
	out := flags.String("out", "", "the `directory` to write "+name+"/ into")
	built := flags.String("built", "", "the age of the data: RFC 3339 or Unix `time`, or newest for when the newest\n"+
		"advisory was modified; without it SOURCE_DATE_EPOCH, and without that newest")
	source := flags.String("source", "osv", "the `name` of the advisories' source in reports")
	strict := flags.Bool("strict", false, "fail when an advisory cannot be represented, instead of saying so")
	switch err := flags.Parse(arguments); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case *in == "" || *out == "" || *source == "" || flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	report, err := run(*in, *out, name, *built, *source, *strict, convert)
	for _, id := range report.ids() {
		fmt.Fprintf(stderr, "%s: %s is left out: %s\n", program, id, report.Skipped[id])
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return 1
	}
	fmt.Fprintf(stderr, "%s: %d advisories in the database\n", program, report.Written)
	return 0
}

func run(in, out, name, built, source string, strict bool, convert Converter) (Report, error) {
	set, err := Load(in)
	if err != nil {
		return Report{}, err
	}
	at, err := builtTime(built, os.Getenv("SOURCE_DATE_EPOCH"), set)
	if err != nil {
		return Report{}, err
	}
	target := filepath.Join(out, name)
	if _, err := os.Lstat(target); err == nil {
		return Report{}, fmt.Errorf("%s exists already", target)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return Report{}, err
	}
	partial, err := os.MkdirTemp(out, ".partial-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(partial)
	// SQLite takes the name of its file as a URI, in which these would end the path.
	if absolute, err := filepath.Abs(partial); err != nil || strings.ContainsAny(absolute, "?#%") {
		return Report{}, fmt.Errorf("%s: the path must not contain ?, # or %%", out)
	}
	report, err := convert(Job{Set: set, Built: at, Source: source, Directory: partial})
	if err != nil {
		return report, err
	}
	if strict && len(report.Skipped) > 0 {
		return report, errors.New("advisories were left out, which -strict forbids")
	}
	if report.Written == 0 {
		return report, errors.New("no advisory could be represented: the database would let everything pass")
	}
	if err := os.Chmod(partial, 0o755); err != nil {
		return report, err
	}
	return report, os.Rename(partial, target)
}

func (r Report) ids() []string {
	ids := make([]string, 0, len(r.Skipped))
	for id := range r.Skipped {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

// builtTime returns the time that the flag says (`newest`: the newest advisory's), or SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/), or the
// newest advisory's.
func builtTime(value, epoch string, set Set) (time.Time, error) {
	switch {
	case value == "newest", value == "" && epoch == "":
		return set.Newest().Truncate(time.Second), nil
	case value == "":
		value = epoch
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), nil
	}
	parsed, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither seconds since 1970 nor a time such as 2026-01-31T12:00:00Z", value)
	}
	return parsed.UTC().Truncate(time.Second), nil
}
