module pipeline.internal/tools/govulncheck

go 1.25.0

tool golang.org/x/vuln/cmd/govulncheck

require (
	golang.org/x/mod v0.38.0
	pipeline.internal/tools/osv v0.0.0
)

require (
	github.com/pandatix/go-cvss v0.6.2 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/telemetry v0.0.0-20260708182218-49f421fb7959 // indirect
	golang.org/x/tools v0.48.0 // indirect
	golang.org/x/vuln v1.6.0 // indirect
)

replace pipeline.internal/tools/osv => ../osv
