// Package security reads the optional TOML files and turns security.toml into TLS settings and write tokens.
package security

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Config is one TOML file; a nil one has only what the environment says.
type Config map[string]any

// Load finds NAME.toml in configDir, ".", ~/.seaweedfs, /usr/local/etc/seaweedfs or /etc/seaweedfs. A file that cannot be
// read or parsed is skipped with a warning. That is SeaweedFS 4.x: the server then runs without what the file would have
// demanded, so whoever starts it has to check the file first.
func Load(configDir, name string) Config {
	home, _ := os.UserHomeDir()
	for _, dir := range []string{configDir, ".", filepath.Join(home, ".seaweedfs"), "/usr/local/etc/seaweedfs", "/etc/seaweedfs"} {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, name+".toml")
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		config := Config{}
		if err == nil {
			err = toml.Unmarshal(text, &config)
		}
		if err != nil {
			slog.Warn("Skipping optional configuration", "file", path, "error", err)
			return nil
		}
		slog.Info("Reading configuration", "file", path)
		return config
	}
	return nil
}

// String returns the value at a dotted key; WEED_A_B_C in the environment overrides "a.b.c".
func (c Config) String(key string) string {
	if v, found := os.LookupEnv("WEED_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))); found {
		return v
	}
	var at any = map[string]any(c)
	for _, part := range strings.Split(key, ".") {
		table, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = table[part]
	}
	if at == nil {
		return ""
	}
	return fmt.Sprint(at)
}
