package osv

import "strings"

// Target is a package with everything an advisory says about it.
type Target struct {
	// Ecosystem is the scanner's own word for it.
	Ecosystem string
	Name      string
	Intervals []Interval
}

// Targets returns the affected packages in a stable order, one entry for each, although an advisory may describe one
// in several places. `ecosystems` maps OSV's name of an ecosystem (schema, "Defined Ecosystems"), without the suffix
// after a colon, to the scanner's; packages of others, and those without any affected version, are recorded as skipped.
func (a Advisory) Targets(ecosystems map[string]string, report *Report) ([]Target, error) {
	var targets []Target
	index := map[[2]string]int{}
	for _, affected := range a.Affected {
		name, _, _ := strings.Cut(affected.Package.Ecosystem, ":")
		ecosystem, ok := ecosystems[name]
		if !ok {
			report.Skip(a.ID, "ecosystem %q of package %q is not supported", affected.Package.Ecosystem, affected.Package.Name)
			continue
		}
		intervals, err := affected.Intervals()
		if err != nil {
			return nil, err
		}
		if len(intervals) == 0 {
			report.Skip(a.ID, "no version of %q is named as affected", affected.Package.Name)
			continue
		}
		key := [2]string{ecosystem, affected.Package.Name}
		if at, ok := index[key]; ok {
			targets[at].Intervals = append(targets[at].Intervals, intervals...)
			continue
		}
		index[key] = len(targets)
		targets = append(targets, Target{Ecosystem: ecosystem, Name: affected.Package.Name, Intervals: intervals})
	}
	return targets, nil
}
