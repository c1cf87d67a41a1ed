package security

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

var jwtHeader = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))

type claims struct {
	Fid string `json:"fid"`
	Exp int64  `json:"exp"`
}

// SignWrite returns a token (RFC 7519, HS256) that allows one file id to be written for ttl; empty when key is empty.
func SignWrite(key, fid string, ttl time.Duration) string {
	if key == "" {
		return ""
	}
	body, _ := json.Marshal(claims{fid, time.Now().Add(ttl).Unix()}) // two plain fields cannot fail
	text := jwtHeader + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign(key, text))
}

// VerifyWrite checks a token that SignWrite made; anything goes when key is empty.
func VerifyWrite(key, token, fid string) error {
	if key == "" {
		return nil
	}
	text, signature, _ := cutLast(token, ".")
	got, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(got, sign(key, text)) {
		return errors.New("wrong jwt")
	}
	header, body, _ := strings.Cut(text, ".")
	var c claims
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || header != jwtHeader || json.Unmarshal(raw, &c) != nil || c.Fid != fid || time.Now().Unix() > c.Exp {
		return errors.New("wrong jwt")
	}
	return nil
}

func sign(key, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
