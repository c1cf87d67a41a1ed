module pipeline.internal/tools/osv

go 1.25

require (
	github.com/pandatix/go-cvss v0.6.2
	golang.org/x/mod v0.22.0
)
