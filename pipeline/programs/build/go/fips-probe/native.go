//go:build !boringcrypto

package main

import "crypto/cipher"

func boringEnabled() bool { return false }

func sealAndOpen(block cipher.Block, text []byte) ([]byte, error) {
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nil, gcm.Seal(nil, nil, text, nil), nil)
}
