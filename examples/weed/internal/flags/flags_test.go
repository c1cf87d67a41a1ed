package flags

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func newSet() (*flag.FlagSet, *int, *string, *bool) {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.String("options", "", "")
	return fs, fs.Int("port.grpc", 1, ""), fs.String("dir", "/tmp", ""), fs.Bool("resume-state", false, "")
}

func lookup(env map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.options")
	text := "# a comment\nport.grpc=3\ndir: /from file\nno.such.flag=1\nresume-state\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		port int
		dir  string
	}{
		{"file only", []string{"-options=" + file}, nil, 3, "/from file"},
		{"environment beats file", nil, map[string]string{"OPTIONS": file, "PORT_GRPC": "2"}, 2, "/from file"},
		{"argument beats both", []string{"-port.grpc=9", "-options", file}, map[string]string{"PORT_GRPC": "2", "DIR": "/env"}, 9, "/env"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, port, dir, resume := newSet()
			if err := Parse(fs, c.args, lookup(c.env)); err != nil {
				t.Fatal(err)
			}
			if *port != c.port || *dir != c.dir || !*resume {
				t.Errorf("port %d, dir %q, resume %v", *port, *dir, *resume)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		env     map[string]string
		options bool
	}{
		{"unknown flag", []string{"-nope"}, nil, false},
		{"bad environment", nil, map[string]string{"PORT_GRPC": "x"}, false},
		{"missing file", []string{"-options=/no/such/file"}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs, _, _, _ := newSet()
			err := Parse(fs, c.args, lookup(c.env))
			if err == nil || errors.Is(err, ErrOptionsFile) != c.options {
				t.Errorf("got %v", err)
			}
		})
	}
}
