// Command weed is a small S3 server with the command line of SeaweedFS 4.x; see README.md for what it stands in for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"example.org/weed/internal/flags"
	"example.org/weed/internal/glog"
	"example.org/weed/internal/version"
)

// Exit codes. An orderly stop by a signal is 0.
const (
	exitFailure = 1
	exitUsage   = 2
)

// command is one subcommand. Its flags function declares the flags and returns what runs with their values.
type command struct {
	name, usage, short string
	flags              func(fs *flag.FlagSet, g *globals) func(ctx context.Context) error
}

// globals are the flags that come before the subcommand.
type globals struct {
	log       glog.Options
	configDir string
}

func commands() []command {
	return []command{
		{"master", "master -port=9333", "start a master server", masterCommand},
		{"volume", "volume -port=8080 -dir=/tmp -max=8 -ip=server_name -master=localhost:9333", "start a volume server", volumeCommand},
		{"filer", "filer -port=8888 -master=<ip:port>[,<ip:port>]*", "start a file server that keeps files by path", filerCommand},
		{"s3", "s3 [-port=8333] [-filer=<ip:port>[,<ip:port>]*] [-config=</path/to/config.json>]", "start an S3 API server in front of filers", s3Command},
		{"scaffold", "scaffold -config=security [-output=.]", "print a configuration template", scaffoldCommand},
		{"version", "version", "print the version", versionCommand},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env flags.Lookup, stdout, stderr io.Writer) int {
	g := &globals{}
	fs := globalFlags(g, stderr)
	err := flags.Parse(fs, append(optionsArgument(args), args...), env)
	switch {
	case errors.Is(err, flags.ErrOptionsFile):
		return exitUsage // without a word, as SeaweedFS does
	case errors.Is(err, flag.ErrHelp):
		return exitUsage
	case err != nil:
		fmt.Fprintln(stderr, "weed:", err)
		return exitUsage
	case fs.NArg() == 0:
		fs.Usage()
		return exitUsage
	case fs.Arg(0) == "help":
		return help(fs.Args()[1:], stdout, stderr)
	}
	for _, c := range commands() {
		if c.name == fs.Arg(0) {
			return c.run(ctx, g, fs.Args()[1:], env, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "weed: unknown subcommand %q\nRun 'weed help' for usage.\n", fs.Arg(0))
	return exitUsage
}

// optionsArgument finds the subcommand's options file, which may name global flags as well. Only the form with one dash
// and "=" is seen: with "--options=FILE" a missing file goes unnoticed and the server starts with its defaults.
func optionsArgument(args []string) []string {
	for _, a := range args {
		if strings.HasPrefix(a, "-options=") {
			return []string{a}
		}
	}
	return nil
}

func globalFlags(g *globals, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("weed", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.String("options", "", "a file of name=value lines")
	fs.StringVar(&g.configDir, "config_dir", "", "directory with toml configuration files")
	fs.BoolVar(&g.log.ToStderr, "logtostderr", false, "log to standard error only, not to a file")
	fs.StringVar(&g.log.Dir, "logdir", "", "write the log file in this directory (default: the temporary directory)")
	fs.BoolVar(&g.log.JSON, "log_json", false, "log lines are JSON")
	fs.IntVar(&g.log.Level, "v", 0, "log level; above 0, debug messages appear")
	accept(fs, "alsologtostderr", true)
	accept(fs, "log_max_size_mb", 0)
	accept(fs, "log_max_files", 0)
	accept(fs, "log_rotate_hours", 0)
	accept(fs, "log_compress", false)
	fs.Usage = func() {
		printCommands(stderr)
		fmt.Fprintln(stderr, "Global options, which come before the command:")
		fs.PrintDefaults()
	}
	return fs
}

// accept declares a flag of SeaweedFS that changes nothing here. Flags that protect something are never declared like
// this: they are refused as unknown.
func accept(fs *flag.FlagSet, name string, value any) {
	const usage = "accepted, has no effect in this server"
	switch v := value.(type) {
	case bool:
		fs.Bool(name, v, usage)
	case int:
		fs.Int(name, v, usage)
	case float64:
		fs.Float64(name, v, usage)
	case string:
		fs.String(name, v, usage)
	}
}

func (c command) flagSet(g *globals, stderr io.Writer) (*flag.FlagSet, func(context.Context) error) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.String("options", "", "a file of name=value lines, one flag each; unknown names are ignored")
	start := c.flags(fs, g)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "Usage: weed %s\nDefault Parameters:\n", c.usage)
		fs.PrintDefaults()
	}
	return fs, start
}

func (c command) run(ctx context.Context, g *globals, args []string, env flags.Lookup, stdout, stderr io.Writer) int {
	fs, start := c.flagSet(g, stderr)
	err := flags.Parse(fs, args, env)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitUsage
	case err != nil && !errors.Is(err, flags.ErrOptionsFile):
		fmt.Fprintln(stderr, "weed:", err)
		return exitUsage
	case c.name == "version":
		fmt.Fprintf(stdout, "version %s %s %s\n", version.String(), runtime.GOOS, runtime.GOARCH)
		return 0
	}
	if c.name != "scaffold" {
		if err := glog.Setup(g.log); err != nil {
			fmt.Fprintln(stderr, "weed:", err)
			return exitFailure
		}
	}
	if err := start(ctx); err != nil {
		slog.Error(err.Error())
		return exitFailure
	}
	return 0
}

func printCommands(w io.Writer) {
	fmt.Fprint(w, "\nweed: a small S3 server with the command line of SeaweedFS\n\nUsage:\n\n\tweed [global options] command [options]\n\nThe commands are:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "    %-11s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nUse \"weed help [command]\" for the options of a command.\n\n")
}

func help(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printCommands(stdout)
		return 0
	}
	for _, c := range commands() {
		if len(args) == 1 && c.name == args[0] {
			fs, _ := c.flagSet(&globals{}, stderr)
			fmt.Fprintf(stdout, "Usage: weed %s\n\n  %s\n\n", c.usage, c.short)
			fmt.Fprintln(stderr, "Default Parameters:")
			fs.PrintDefaults()
			return 0
		}
	}
	fmt.Fprintf(stderr, "Unknown help topic %q.  Run 'weed help'.\n", strings.Join(args, " "))
	return exitUsage
}

// versionCommand only declares flags: run prints the version without any set-up.
func versionCommand(*flag.FlagSet, *globals) func(context.Context) error { return nil }
