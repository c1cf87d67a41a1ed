// The FIPS probe asks a cryptographic module, from inside of a Go program, what it does and what it refuses.
//
// It is compiled with the settings of a FIPS binary and prints JSON: which module is there, and for each algorithm
// "" when it worked, or why it did not.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

var key = make([]byte, 32)

// approved is what a module offers that is validated today (NIST SP 800-140C).
var approved = map[string]func() error{
	"SHA-256": func() error { sha256.Sum256(key); return nil },
	"SHA-512": func() error { sha512.Sum512(key); return nil },
	"HMAC-SHA-256": func() error {
		mac := hmac.New(sha256.New, key)
		_, err := mac.Write(key)
		mac.Sum(nil)
		return err
	},
	"AES-256-GCM": func() error {
		block, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		plain, err := sealAndOpen(block, key)
		if err == nil && string(plain) != string(key) {
			err = errors.New("decrypted to something else")
		}
		return err
	},
	"ECDSA P-256": func() error {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		hash := sha256.Sum256(key)
		signature, err := ecdsa.SignASN1(rand.Reader, private, hash[:])
		if err == nil && !ecdsa.VerifyASN1(&private.PublicKey, hash[:], signature) {
			err = errors.New("its own signature does not verify")
		}
		return err
	},
	"ECDH P-256": func() error { _, err := ecdh.P256().GenerateKey(rand.Reader); return err },
	"Ed25519":    func() error { _, _, err := ed25519.GenerateKey(rand.Reader); return err },
}

// other is what is not approved, or not in this way.
var other = map[string]func() error{
	"MD5":      func() error { md5.Sum(key); return nil },
	"SHA-1":    func() error { sha1.Sum(key); return nil },
	"DES":      func() error { _, err := des.NewCipher(key[:8]); return err },
	"RC4":      func() error { _, err := rc4.NewCipher(key); return err },
	"X25519":   func() error { _, err := ecdh.X25519().GenerateKey(rand.Reader); return err },
	"HMAC-MD5": func() error { hmac.New(md5.New, key).Sum(nil); return nil },
	"AES-GCM with a nonce of the caller's": func() error {
		block, err := aes.NewCipher(key)
		if err != nil {
			return err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return err
		}
		gcm.Seal(nil, key[:12], key, nil)
		return nil
	},
}

func try(algorithm func() error) (said string) {
	defer func() {
		if reason := recover(); reason != nil {
			said = fmt.Sprint(reason)
		}
	}()
	if err := algorithm(); err != nil {
		return err.Error()
	}
	return ""
}

func results(algorithms map[string]func() error) map[string]string {
	found := map[string]string{}
	for name, algorithm := range algorithms {
		found[name] = try(algorithm)
	}
	return found
}

func main() {
	enabled, enforced, version := native()
	about := map[string]any{
		"boringcrypto": boringEnabled(),
		"enabled":      enabled,
		"enforced":     enforced,
		"version":      version,
		"approved":     results(approved),
		"other":        results(other),
	}
	if err := json.NewEncoder(os.Stdout).Encode(about); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
