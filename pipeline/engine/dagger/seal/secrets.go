package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"strings"
)

const (
	// short is the length below which a line is an everyday word (`-----`, `}`) that would hide half of a log.
	short = 8
	// mimeLine is how many characters a line of what `base64` writes has (RFC 2045, section 6.8).
	mimeLine = 76
)

var mask = []byte("***")

// Secret is a value that must not be seen, with every form in which it may turn up.
type Secret struct {
	Name  string
	value []byte
	forms [][]byte
}

func readSecrets(names []string) ([]Secret, error) {
	secrets := make([]Secret, 0, len(names))
	for _, name := range names {
		value, err := os.ReadFile(SecretsFolder + "/" + name)
		if err != nil {
			return nil, broken("reading the secret "+name, err)
		}
		secrets = append(secrets, Secret{Name: name, value: value, forms: formsOf(value)})
	}
	return secrets, nil
}

// formsOf returns a secret whole, line by line and in base64 (RFC 4648, sections 4 and 5), each form once.
func formsOf(secret []byte) [][]byte {
	whole := bytes.TrimSpace(secret)
	if len(whole) == 0 {
		return nil
	}
	found := map[string]bool{string(secret): true, string(whole): true}
	for _, line := range bytes.Split(whole, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) >= short {
			found[string(line)] = true
		}
	}
	if len(whole) >= short {
		for _, text := range [][]byte{secret, whole} {
			for _, code := range encoded(text) {
				found[code] = true
				found[strings.NewReplacer("+", "-", "/", "_").Replace(code)] = true
			}
		}
	}
	forms := make([][]byte, 0, len(found))
	for form := range found {
		forms = append(forms, []byte(form))
	}
	return forms
}

// encoded returns the base64 forms of text, at each of the three places in a longer text that it may begin at.
func encoded(text []byte) []string {
	forms := []string{}
	for shift := range 3 {
		code := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		forms = append(forms, code[(shift*8+5)/6:(shift+len(text))*8/6])
	}
	code := base64.StdEncoding.EncodeToString(text)
	forms = append(forms, code)
	for start := 0; start < len(code); start += mimeLine {
		if chunk := code[start:min(start+mimeLine, len(code))]; len(chunk) >= short {
			forms = append(forms, chunk)
		}
	}
	return forms
}

// exposed returns a verdict when a secret is in the command line or the environment.
func exposed(secrets []Secret, argv []string, env map[string]string) *Verdict {
	texts := append([]string{}, argv...)
	for _, value := range env {
		texts = append(texts, value)
	}
	for _, secret := range secrets {
		value := string(bytes.TrimSpace(secret.value))
		for _, text := range texts {
			if value != "" && strings.Contains(text, value) {
				return &Verdict{Problem: "exposed", Secret: secret.Name}
			}
		}
	}
	return nil
}

// leaks returns whether a file holds a secret whole, in base64, or more than half of its lines. Fewer lines may be
// public: the armor of an OpenPGP private key begins with the lines of its public key.
func (secret *Secret) leaks(path string) (bool, error) {
	found, err := secret.foundIn(path)
	if err != nil {
		return false, err
	}
	lines := map[string]bool{}
	for _, line := range bytes.Split(secret.value, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) >= short {
			lines[string(line)] = true
		}
	}
	onlyLines := true
	for form := range found {
		onlyLines = onlyLines && lines[form]
	}
	if len(lines) > 1 && onlyLines {
		return len(found)*2 > len(lines), nil
	}
	return len(found) > 0, nil
}

func (secret *Secret) foundIn(path string) (map[string]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	longest := longestOf(secret.forms)
	found := map[string]bool{}
	held := []byte{}
	block := make([]byte, 1<<20)
	for {
		count, err := file.Read(block)
		held = append(held[max(0, len(held)-longest):], block[:count]...)
		for _, form := range secret.forms {
			if len(form) >= short && !found[string(form)] && bytes.Contains(held, form) {
				found[string(form)] = true
			}
		}
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func longestOf(forms [][]byte) int {
	longest := 0
	for _, form := range forms {
		longest = max(longest, len(form))
	}
	return longest
}
