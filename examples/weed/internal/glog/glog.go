// Package glog gives log/slog the line format and the destinations that SeaweedFS users know from glog.
package glog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Options are the global logging flags.
type Options struct {
	ToStderr bool   // nothing but stderr
	Dir      string // where the log file goes unless ToStderr; empty means the temporary directory
	JSON     bool
	Level    int // -v: from 1 on, debug messages appear
}

// Setup makes the default logger. Without ToStderr it logs to stderr and to a file, which weed.INFO then points to.
func Setup(o Options) error {
	var out io.Writer = os.Stderr
	if !o.ToStderr {
		file, err := open(o.Dir)
		if err != nil {
			return err
		}
		out = io.MultiWriter(os.Stderr, file)
	}
	level := slog.LevelInfo
	if o.Level > 0 {
		level = slog.LevelDebug
	}
	var h slog.Handler = &handler{out: out, level: level, mu: &sync.Mutex{}}
	if o.JSON {
		h = slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	}
	slog.SetDefault(slog.New(h))
	return nil
}

func open(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	host, _ := os.Hostname()
	name := fmt.Sprintf("weed.%s.log.INFO.%s.%d", host, time.Now().Format("20060102-150405"), os.Getpid())
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	link := filepath.Join(dir, "weed.INFO")
	_ = os.Remove(link) // the link is a convenience: a log without it is still a log
	_ = os.Symlink(name, link)
	return file, nil
}

// handler writes "I0102 15:04:05.000000 file.go:12 message key=value".
type handler struct {
	out   io.Writer
	level slog.Level
	attrs []slog.Attr
	mu    *sync.Mutex
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *handler) WithGroup(string) slog.Handler { return h }

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr{}, h.attrs...), attrs...)
	return &c
}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	letter := map[slog.Level]string{slog.LevelWarn: "W", slog.LevelError: "E"}[r.Level]
	if letter == "" {
		letter = "I"
	}
	frame, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s %s:%d %s", letter, r.Time.Format("0102 15:04:05.000000"),
		filepath.Base(frame.File), frame.Line, r.Message)
	write := func(a slog.Attr) bool {
		if value := a.Value.String(); needsQuotes(value) {
			fmt.Fprintf(&b, " %s=%q", a.Key, value)
		} else {
			fmt.Fprintf(&b, " %s=%s", a.Key, value)
		}
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(b.Bytes())
	return err
}

// needsQuotes keeps what a client sent from forging a log line.
func needsQuotes(s string) bool {
	if s == "" {
		return true
	}
	for _, c := range s {
		if c <= ' ' || c == '"' || c == '=' || c >= 0x7f {
			return true
		}
	}
	return false
}
