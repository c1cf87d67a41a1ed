package osv

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/mod/semver"
)

// Interval is a stretch of affected versions, from From on up to Fixed, Last or Limit, of which at most one is set.
type Interval struct {
	// From is the first affected version; empty means from the beginning.
	From string
	// Fixed is the first version that has the fix; not affected itself.
	Fixed string
	// Last is the last affected version when no fix is known.
	Last string
	// Limit is the first version that the advisory no longer speaks of; it is no fix.
	Limit string
}

// Exactly returns the interval that holds one version only.
func Exactly(version string) Interval { return Interval{From: version, Last: version} }

// Constraints returns the comparisons, such as ">=1.2.0", that a version in the interval satisfies. All versions
// satisfy an empty list.
func (i Interval) Constraints() []string {
	if i.From != "" && i.From == i.Last {
		return []string{"=" + i.From}
	}
	var all []string
	if i.From != "" {
		all = append(all, ">="+i.From)
	}
	switch {
	case i.Fixed != "":
		all = append(all, "<"+i.Fixed)
	case i.Last != "":
		all = append(all, "<="+i.Last)
	case i.Limit != "":
		all = append(all, "<"+i.Limit)
	}
	return all
}

// Intervals returns which versions are affected (schema, "Evaluation"): the union of the ranges and of the versions
// that are listed one by one. Ranges of Git commits say nothing about versions and are passed over, so the result may
// be empty.
func (a Affected) Intervals() ([]Interval, error) {
	var all []Interval
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		if r.Type != "SEMVER" && r.Type != "ECOSYSTEM" {
			return nil, fmt.Errorf("range type %q is not SEMVER, ECOSYSTEM or GIT", r.Type)
		}
		intervals, err := r.intervals(r.Type == "SEMVER" || a.Package.Ecosystem == "Go")
		if err != nil {
			return nil, err
		}
		all = append(all, intervals...)
	}
	for _, version := range a.Versions {
		// Databases list every version in a range once more; only what can be proved to be inside is left out.
		if version != "" && !covered(all, version) {
			all = append(all, Exactly(version))
		}
	}
	return all, nil
}

func (r Range) intervals(ordered bool) ([]Interval, error) {
	events, err := r.sorted(ordered)
	if err != nil {
		return nil, err
	}
	var all []Interval
	var open *Interval
	for _, event := range events {
		switch {
		case event.Introduced != "":
			if open == nil {
				open = &Interval{From: event.Introduced}
				if event.Introduced == "0" {
					open.From = ""
				}
			}
		case open == nil:
			return nil, fmt.Errorf("the range ends at %s but was never introduced", event.version())
		default:
			open.Fixed, open.Last, open.Limit = event.Fixed, event.LastAffected, event.Limit
			all = append(all, *open)
			open = nil
		}
	}
	if open != nil {
		all = append(all, *open)
	}
	return all, nil
}

// sorted returns the events in the order of their versions. Only semantic versions can be compared here; those of other
// ecosystems keep the order in which databases write them.
func (r Range) sorted(ordered bool) ([]Event, error) {
	if len(r.Events) == 0 {
		return nil, errors.New("a range without events")
	}
	events := append([]Event(nil), r.Events...)
	for _, event := range events {
		if event.count() != 1 {
			return nil, errors.New("an event must have one of introduced, fixed, last_affected, limit")
		}
		if ordered && event.version() != "0" && event.version() != "*" && !semver.IsValid(canonical(event.version())) {
			return nil, fmt.Errorf("%q is not a semantic version", event.version())
		}
	}
	// "limit": "*" is infinity, which is the default (schema, affected[].ranges[].events).
	kept := events[:0]
	for _, event := range events {
		if event.Limit != "*" {
			kept = append(kept, event)
		}
	}
	if ordered {
		sort.SliceStable(kept, func(i, j int) bool { return less(kept[i], kept[j]) })
	}
	return kept, nil
}

func (e Event) version() string { return e.Introduced + e.Fixed + e.LastAffected + e.Limit }

func (e Event) count() int {
	n := 0
	for _, version := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
		if version != "" {
			n++
		}
	}
	return n
}

// less puts what ends a stretch before what begins the next one at the same version, except that a stretch which ends
// with the version it begins with begins first.
func less(a, b Event) bool {
	if a.version() == "0" || b.version() == "0" {
		return a.version() == "0" && b.version() != "0"
	}
	if order := semver.Compare(canonical(a.version()), canonical(b.version())); order != 0 {
		return order < 0
	}
	return a.rank() < b.rank()
}

func (e Event) rank() int {
	switch {
	case e.Introduced != "":
		return 1
	case e.LastAffected != "":
		return 2
	default:
		return 0
	}
}

func canonical(version string) string { return "v" + strings.TrimPrefix(version, "v") }

func covered(intervals []Interval, version string) bool {
	version = canonical(version)
	if !semver.IsValid(version) {
		return false
	}
	for _, interval := range intervals {
		if interval.contains(version) {
			return true
		}
	}
	return false
}

func (i Interval) contains(version string) bool {
	inside := func(bound string, ok func(order int) bool) bool {
		return bound == "" || semver.IsValid(canonical(bound)) && ok(semver.Compare(version, canonical(bound)))
	}
	return inside(i.From, func(order int) bool { return order >= 0 }) &&
		inside(i.Fixed, func(order int) bool { return order < 0 }) &&
		inside(i.Last, func(order int) bool { return order <= 0 }) &&
		inside(i.Limit, func(order int) bool { return order < 0 })
}
