package osv

import (
	"fmt"
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"
)

// Rating is how bad a vulnerability is, on the qualitative scale of CVSS (v3.1 specification, section 5).
type Rating int

// The ratings in ascending order, so that they can be compared. Unknown is not "harmless": nobody has said.
const (
	Unknown Rating = iota
	None
	Low
	Medium
	High
	Critical
)

func (r Rating) String() string {
	return [...]string{"unknown", "none", "low", "medium", "high", "critical"}[r]
}

var words = map[string]Rating{
	"unknown":    Unknown,
	"none":       None,
	"negligible": None,
	"low":        Low,
	"medium":     Medium,
	"moderate":   Medium,
	"high":       High,
	"important":  High,
	"critical":   Critical,
}

// Vector is a CVSS vector with the base score, or for CVSS 4.0 the score, that follows from it.
type Vector struct {
	// Version is "2.0", "3.0", "3.1" or "4.0".
	Version string
	Text    string
	Score   float64
}

// Rating returns the band that the score lies in. CVSS 2.0 itself has none; NVD's are used, whose highest is High.
func (v Vector) Rating() Rating {
	switch {
	case v.Score >= 9 && v.Version != "2.0":
		return Critical
	case v.Score >= 7:
		return High
	case v.Score >= 4:
		return Medium
	case v.Score > 0:
		return Low
	default:
		return None
	}
}

// Vectors returns the CVSS vectors of the advisory and of its affected packages, each once.
// A vector that is malformed, or is not of the type it is said to be, is an error.
func (a Advisory) Vectors() ([]Vector, error) {
	var vectors []Vector
	seen := map[string]bool{}
	for _, severity := range a.severities() {
		if !strings.HasPrefix(severity.Type, "CVSS_") || seen[severity.Score] {
			continue
		}
		seen[severity.Score] = true
		vector, err := parseVector(severity)
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, vector)
	}
	return vectors, nil
}

// Rating returns how severe the advisory is. A word that the database gives (database_specific.severity, as GitHub's
// does) is a person's judgement and wins over what vectors say. Of several words or several vectors the worst counts,
// since the databases of the scanners have one rating for a vulnerability and not one for each package.
func (a Advisory) Rating() (Rating, error) {
	worst := Unknown
	for _, specific := range a.specifics() {
		// A word that is not on the scale belongs to a database that means something else by the field.
		if rating, ok := words[strings.ToLower(specific.Severity)]; ok {
			worst = max(worst, rating)
		}
	}
	vectors, err := a.Vectors()
	if err != nil || worst != Unknown {
		return worst, err
	}
	for _, vector := range vectors {
		worst = max(worst, vector.Rating())
	}
	for _, severity := range a.severities() {
		if !strings.HasPrefix(severity.Type, "CVSS_") {
			worst = max(worst, words[strings.ToLower(severity.Score)])
		}
	}
	return worst, nil
}

func (a Advisory) severities() []Severity {
	all := append([]Severity(nil), a.Severity...)
	for _, affected := range a.Affected {
		all = append(all, affected.Severity...)
	}
	return all
}

func (a Advisory) specifics() []DatabaseSpecific {
	all := []DatabaseSpecific{a.DatabaseSpecific}
	for _, affected := range a.Affected {
		all = append(all, affected.DatabaseSpecific, affected.EcosystemSpecific)
	}
	return all
}

func parseVector(severity Severity) (Vector, error) {
	text := strings.TrimSuffix(severity.Score, "/")
	version, score, err := score(severity.Type, text)
	if err != nil {
		return Vector{}, fmt.Errorf("severity %s %q: %w", severity.Type, severity.Score, err)
	}
	return Vector{Version: version, Text: text, Score: score}, nil
}

func score(kind, text string) (version string, score float64, err error) {
	switch {
	case kind == "CVSS_V2":
		parsed, err := cvss20.ParseVector(text)
		if err != nil {
			return "", 0, err
		}
		return "2.0", parsed.BaseScore(), nil
	case kind == "CVSS_V3" && strings.HasPrefix(text, "CVSS:3.0/"):
		parsed, err := cvss30.ParseVector(text)
		if err != nil {
			return "", 0, err
		}
		return "3.0", parsed.BaseScore(), nil
	case kind == "CVSS_V3" && strings.HasPrefix(text, "CVSS:3.1/"):
		parsed, err := cvss31.ParseVector(text)
		if err != nil {
			return "", 0, err
		}
		return "3.1", parsed.BaseScore(), nil
	case kind == "CVSS_V4" && strings.HasPrefix(text, "CVSS:4.0/"):
		parsed, err := cvss40.ParseVector(text)
		if err != nil {
			return "", 0, err
		}
		return "4.0", parsed.Score(), nil
	default:
		return "", 0, fmt.Errorf("not a vector of that version")
	}
}
