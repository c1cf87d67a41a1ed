package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed security.toml
var securityTemplate string

func scaffoldCommand(fs *flag.FlagSet, _ *globals) func(context.Context) error {
	config := fs.String("config", "security", "the configuration to print: security")
	output := fs.String("output", "", "write NAME.toml in this folder instead")
	return func(context.Context) error {
		if *config != "security" {
			return fmt.Errorf("there is no template for %q, only for security", *config)
		}
		if *output == "" {
			_, err := fmt.Print(securityTemplate)
			return err
		}
		return os.WriteFile(filepath.Join(*output, *config+".toml"), []byte(securityTemplate), 0o600)
	}
}
