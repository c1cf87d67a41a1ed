package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	dateFormat = "20060102T150405Z"
	maxSkew    = 15 * time.Minute
	unsigned   = "UNSIGNED-PAYLOAD"
)

// Identity is one user of the -config file. An action is Admin, Read, Write or List, alone or as "Read:bucket".
type Identity struct {
	Name        string `json:"name"`
	Credentials []struct {
		AccessKey string `json:"accessKey"`
		SecretKey string `json:"secretKey"`
	} `json:"credentials"`
	Actions []string `json:"actions"`
}

func (id *Identity) may(action, bucket string) bool {
	return slices.ContainsFunc(id.Actions, func(allowed string) bool {
		name, scope, scoped := strings.Cut(allowed, ":")
		return (name == action || name == "Admin") && (!scoped || scope == bucket)
	})
}

// Identities decide who may do what; with none, everybody may do everything.
type Identities []Identity

// LoadIdentities reads the JSON file {"identities": […]}; no path means no identities.
func LoadIdentities(path string) (Identities, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Identities Identities `json:"identities"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file.Identities, nil
}

func (ids Identities) secret(accessKey string) (*Identity, string) {
	for i, id := range ids {
		for _, c := range id.Credentials {
			if c.AccessKey == accessKey {
				return &ids[i], c.SecretKey
			}
		}
	}
	return nil, ""
}

func (ids Identities) keys() (count int) {
	for _, id := range ids {
		count += len(id.Credentials)
	}
	return count
}

// signature is the parsed Signature Version 4 of a request.
type signature struct {
	accessKey, date, scope, region, service string
	signed                                  []string // header names
	value                                   string
	presigned                               bool
	expires                                 time.Duration
	key                                     []byte // the derived signing key, once the secret is known
}

// authenticate finds out who sent the request. The signature is nil when nothing was verified.
func (ids Identities) authenticate(r *http.Request, now time.Time) (*Identity, *signature, error) {
	if len(ids) == 0 {
		return &Identity{Name: "anonymous", Actions: []string{"Admin"}}, nil, nil
	}
	sig, err := parseSignature(r)
	if err != nil {
		return nil, nil, err
	}
	if sig == nil {
		i := slices.IndexFunc(ids, func(id Identity) bool { return id.Name == "anonymous" })
		if i < 0 {
			return nil, nil, errAccessDenied
		}
		return &ids[i], nil, nil
	}
	id, secret := ids.secret(sig.accessKey)
	if id == nil {
		// SeaweedFS logs this much from 4.01 on, and no address of the client. What the client sent is quoted here.
		slog.Warn(fmt.Sprintf("InvalidAccessKeyId: attempted key %q not found. Available keys: %d, Auth enabled: true",
			sig.accessKey, ids.keys()))
		return nil, nil, errInvalidAccessKeyID
	}
	at, err := time.Parse(dateFormat, sig.date)
	if err != nil || !strings.HasPrefix(sig.scope, at.Format("20060102/")) {
		return nil, nil, errMalformedAuth
	}
	if sig.presigned {
		if now.Before(at.Add(-maxSkew)) || now.After(at.Add(sig.expires)) {
			return nil, nil, errExpired
		}
	} else if now.Sub(at).Abs() > maxSkew {
		return nil, nil, errTimeSkewed
	}
	sig.key = signingKey(secret, at.Format("20060102"), sig.region, sig.service)
	if want := hexMAC(sig.key, sig.stringToSign(r)); !hmac.Equal([]byte(want), []byte(sig.value)) {
		return nil, nil, errSignature
	}
	return id, sig, nil
}

// parseSignature reads the Authorization header or the presigned query; nil when there is neither.
func parseSignature(r *http.Request) (*signature, error) {
	fields := map[string]string{}
	sig := &signature{date: r.Header.Get("X-Amz-Date")}
	query := r.URL.Query()
	header, isHeader := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	switch {
	case isHeader:
		for _, part := range strings.Split(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			fields[name] = value
		}
	case query.Get("X-Amz-Algorithm") == algorithm:
		for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
			fields[name] = query.Get("X-Amz-" + name)
		}
		seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
		if err != nil || seconds < 1 || seconds > 7*24*3600 {
			return nil, errMalformedAuth
		}
		sig.presigned, sig.date, sig.expires = true, query.Get("X-Amz-Date"), time.Duration(seconds)*time.Second
	case r.Header.Get("Authorization") != "":
		return nil, errMalformedAuth // Signature Version 2, perhaps
	default:
		return nil, nil
	}
	parts := strings.Split(fields["Credential"], "/")
	if len(parts) < 5 || fields["Signature"] == "" || fields["SignedHeaders"] == "" {
		return nil, errMalformedAuth
	}
	n := len(parts) - 4 // an access key may contain slashes
	sig.accessKey, sig.scope = strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/")
	sig.region, sig.service = parts[n+1], parts[n+2]
	sig.signed, sig.value = strings.Split(fields["SignedHeaders"], ";"), fields["Signature"]
	if !slices.Contains(sig.signed, "host") {
		return nil, errMalformedAuth
	}
	return sig, nil
}

// stringToSign is that of the AWS General Reference, "Create a signed AWS API request".
func (s *signature) stringToSign(r *http.Request) string {
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" || s.presigned {
		payload = unsigned
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, escape(r.URL.Path, true), canonicalQuery(r.URL.Query()))
	for _, name := range s.signed {
		var value string
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		default:
			value = strings.Join(r.Header.Values(name), ",")
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(s.signed, ";"), payload)
	return strings.Join([]string{algorithm, s.date, s.scope, hexSum(b.String())}, "\n")
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, value := range values {
			if name != "X-Amz-Signature" {
				pairs = append(pairs, escape(name, false)+"="+escape(value, false))
			}
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape is AWS' URI encoding: all but RFC 3986's unreserved characters.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' ||
			strings.IndexByte("-._~", c) >= 0 || c == '/' && keepSlash {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func signingKey(secret, day, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	return key
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexMAC(key []byte, text string) string { return hex.EncodeToString(mac(key, text)) }

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
