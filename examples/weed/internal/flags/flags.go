// Package flags fills a flag set from three sources, the strongest first: arguments, environment, options file.
//
// Every flag is settable by an environment variable without any prefix: "port.grpc" by PORT_GRPC, "dir" by DIR. That is
// SeaweedFS' behaviour and a trap for service files, which is why this server keeps it.
package flags

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// Lookup finds an environment variable; os.LookupEnv is the usual one.
type Lookup func(name string) (value string, found bool)

// ErrOptionsFile says that the options file could not be read.
var ErrOptionsFile = errors.New("options file")

// EnvName returns the environment variable that sets the named flag.
func EnvName(name string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(name))
}

// Parse sets the flags of fs from args, then those still unset from the environment, then from the file that the flag
// "options" names. The error wraps ErrOptionsFile when all is well but for that file.
func Parse(fs *flag.FlagSet, args []string, env Lookup) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := fromEnvironment(fs, env); err != nil {
		return err
	}
	options := fs.Lookup("options")
	if options == nil || options.Value.String() == "" {
		return nil
	}
	return fromFile(fs, options.Value.String())
}

func isSet(fs *flag.FlagSet) map[string]bool {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

func fromEnvironment(fs *flag.FlagSet, env Lookup) error {
	set := isSet(fs)
	var problems []error
	fs.VisitAll(func(f *flag.Flag) {
		value, found := env(EnvName(f.Name))
		if set[f.Name] || !found {
			return
		}
		if err := assign(fs, f, value); err != nil {
			problems = append(problems, fmt.Errorf("environment variable %s: %w", EnvName(f.Name), err))
		}
	})
	return errors.Join(problems...)
}

// fromFile reads "name=value" lines; the first '=', ':' or space separates, '#' starts a comment line, and a name that
// fs lacks is skipped, so that one file serves releases with different flags.
func fromFile(fs *flag.FlagSet, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptionsFile, err)
	}
	defer file.Close()
	set := isSet(fs)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value := line, ""
		if i := strings.IndexAny(line, "=: "); i >= 0 {
			name, value = line[:i], strings.TrimSpace(line[i+1:])
		}
		f := fs.Lookup(name)
		if f == nil || set[name] {
			continue
		}
		if err := assign(fs, f, value); err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptionsFile, err)
	}
	return nil
}

func assign(fs *flag.FlagSet, f *flag.Flag, value string) error {
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() && value == "" {
		value = "true"
	}
	if err := fs.Set(f.Name, value); err != nil {
		return fmt.Errorf("invalid value %q: %w", value, err)
	}
	return nil
}
