package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func weed(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	code = run(t.Context(), args, lookup, &out, &problems)
	return code, out.String(), problems.String()
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name   string
		env    map[string]string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"version", nil, []string{"version"}, 0, "version 30GB dev unknown linux ", ""},
		{"help", nil, []string{"help"}, 0, "scaffold", ""},
		{"help of a command", nil, []string{"help", "volume"}, 0, "Usage: weed volume", "-preStopSeconds"},
		{"help of nothing", nil, []string{"help", "nothing"}, 2, "", "Unknown help topic"},
		{"no command", nil, nil, 2, "", "The commands are"},
		{"unknown command", nil, []string{"mount"}, 2, "", "unknown subcommand"},
		{"unknown flag", nil, []string{"master", "-nope"}, 2, "", "-nope"},
		{"unknown global flag", nil, []string{"-nope", "master"}, 2, "", "-nope"},
		{"bad environment", map[string]string{"PORT": "many"}, []string{"s3"}, 2, "", "PORT"},
		{"missing options file", nil, []string{"version", "-options=" + dir + "/none"}, 2, "", ""},
		{"missing options file, two dashes", nil, []string{"version", "--options=" + dir + "/none"}, 0, "version 30GB", ""},
		{"OPTIONS is a file name", map[string]string{"OPTIONS": "-a -b"}, []string{"version"}, 2, "", ""},
		{"even number of masters", nil, []string{"-logtostderr", "master", "-ip=127.0.0.1", "-peers=127.0.0.1:1", "-mdir=" + dir}, 1, "", ""},
		{"folder that is not there", nil, []string{"-logtostderr", "volume", "-dir=" + dir + "/none"}, 1, "", ""},
		{"port too high", nil, []string{"-logtostderr", "master", "-ip=127.0.0.1", "-port=60000", "-mdir=" + dir}, 1, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := weed(t, c.env, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
			}
			if c.stdout == "" && c.stderr == "" && stdout+stderr != "" {
				t.Errorf("was to be silent: %s%s", stdout, stderr)
			}
		})
	}
}

func TestSeats(t *testing.T) {
	for peers, want := range map[string]string{
		"":                      "[h:9333]",
		"none":                  "[h:9333]",
		"h:9333,h:9334,h:9335":  "[h:9333 h:9334 h:9335]",
		"h:9334, h:9335":        "[h:9334 h:9335 h:9333]",
		"h:9333.12,a:1.2,b:3.4": "[h:9333 a:1.2 b:3.4]",
		"h:9333,h:9334":         "Only odd number of masters are supported: [h:9333 h:9334]",
		"h9334,x:1":             `"h9334" is no host:port: address h9334: missing port in address`,
	} {
		o := masterOptions{listen: listen{ip: "h", port: 9333}, peers: peers}
		o.resolve()
		seats, err := o.seats()
		got := fmt.Sprint(seats)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s", peers, got)
		}
	}
}

// freePort returns a port that is free together with the one 10000 above it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port > 55535 {
			continue
		}
		if above, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10000)); err == nil {
			above.Close()
			return port
		}
	}
	t.Fatal("no pair of free ports")
	return 0
}

// TestServers starts a master and a volume server as their commands do, and stops them as a signal does.
func TestServers(t *testing.T) {
	dir := t.TempDir()
	masterPort, volumePort := freePort(t), freePort(t)
	options := filepath.Join(dir, "volume.options")
	text := fmt.Sprintf("port=%d\nip=127.0.0.1\nmserver=127.0.0.1:%d\ndir=%s\npreStopSeconds=0\nnew.flag=1\n", volumePort, masterPort, dir)
	if err := os.WriteFile(options, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	codes := make(chan int, 2)
	for _, args := range [][]string{
		{"-logtostderr", "master", "-ip=127.0.0.1", fmt.Sprintf("-port=%d", masterPort), "-mdir=" + dir + "/new"},
		{"-logtostderr", "volume", "-options=" + options},
	} {
		go func() {
			var out bytes.Buffer
			codes <- run(ctx, args, func(string) (string, bool) { return "", false }, &out, &out)
		}()
	}
	healthy := func(url string) bool {
		response, err := http.Get(url)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	for end := time.Now().Add(10 * time.Second); !healthy(fmt.Sprintf("http://127.0.0.1:%d/healthz", volumePort)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the volume server does not become healthy")
		}
	}
	if !healthy(fmt.Sprintf("http://127.0.0.1:%d/cluster/healthz", masterPort)) {
		t.Error("the master has no leader")
	}
	stop()
	for range 2 {
		if code := <-codes; code != 0 {
			t.Errorf("exit %d after a signal", code)
		}
	}
}
