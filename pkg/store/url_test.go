package store

import (
	"crypto/sha256"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/dataset"
)

func digestOf(b []byte) dataset.Digest { return sha256.Sum256(b) }

func TestURLsThatNameNoStore(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	for rawURL, part := range map[string]string{
		"":                                "dir://",
		"data":                            "dir://data",
		"/data":                           "dir://",
		"http://host/hunter2":             "s3://",
		"http://user:hunter2@host/":       "s3://",
		"://hunter2":                      "dir:///path",
		"dir://":                          "names no folder",
		"dir:data":                        "dir://rel/path",
		"dir:///data?x=1":                 "%3F",
		"dir:///data#x":                   "%23",
		"dir://user:hunter2@host/x":       "more than a path",
		"dir:///%zz":                      "with %25 for a %",
		"s3://":                           "s3://bucket/prefix",
		"s3:bucket":                       "s3://bucket/prefix",
		"s3://id:hunter2@bucket":          "AWS_SECRET_ACCESS_KEY",
		"s3://bucket/a/../b":              "..",
		"s3://bucket/a//b":                "empty",
		"s3://bucket/#x":                  "s3://bucket/prefix",
		"s3://bucket?endpoint":            "endpoint needs one value",
		"s3://bucket?region=a&region=b":   "region needs one value",
		"s3://bucket?secret=hunter2":      "unknown name \"secret\"",
		"s3://bucket?path_style=true":     "path-style",
		"s3://bucket?path-style=maybe":    "true or false",
		"s3://bucket?endpoint=localhost":  "http://host:port",
		"s3://bucket?endpoint=ftp://host": "http://host:port",
		"s3://bucket?endpoint=http://u:hunter2@host": "without user",
		"s3://bucket?endpoint=http://host/path":      "without user or path",
		"s3://bucket?endpoint=%zz":                   "query",
		"s3://b?endpoint=http://host":                "bucket",
	} {
		st, err := Open(t.Context(), rawURL)
		if err == nil {
			_ = st.Close()
		}
		wantText(t, err, ErrURL, part)
		if err != nil && rawURL != "http://host/hunter2" && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v tells the secret", err)
		}
	}
}

func TestS3Settings(t *testing.T) {
	parse := func(rawURL string) s3Settings {
		t.Helper()
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseS3(u)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	s := parse("s3://bucket")
	if s.bucket != "bucket" || s.prefix != "" || s.endpoint.String() != amazonEndpoint || s.region != "" || s.lookup != minio.BucketLookupAuto {
		t.Errorf("s3://bucket is %+v", s)
	}
	s = parse("s3://bucket/a/b/?endpoint=http://localhost:9000&path-style=true")
	if s.prefix != "a/b/" || s.endpoint.Host != "localhost:9000" || s.region != "us-east-1" || s.lookup != minio.BucketLookupPath {
		t.Errorf("with an endpoint: %+v", s)
	}
	if s := parse("s3://bucket?path-style=0"); s.lookup != minio.BucketLookupDNS {
		t.Errorf("without path-style: %+v", s)
	}
	t.Setenv("AWS_DEFAULT_REGION", "eu-west-1")
	if s := parse("s3://bucket"); s.region != "eu-west-1" {
		t.Errorf("AWS_DEFAULT_REGION: %q", s.region)
	}
	t.Setenv("AWS_REGION", "eu-west-2")
	if s := parse("s3://bucket?endpoint=http://h"); s.region != "eu-west-2" {
		t.Errorf("AWS_REGION: %q", s.region)
	}
	if s := parse("s3://bucket?region=eu-west-3"); s.region != "eu-west-3" {
		t.Errorf("region: %q", s.region)
	}
}

func TestCredentialsComeFromTheEnvironment(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	_, err := s3Credentials()
	wantText(t, err, ErrURL, "AWS_ACCESS_KEY_ID")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
	if _, err := s3Credentials(); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	creds, err := s3Credentials()
	if err != nil {
		t.Fatal(err)
	}
	v, err := creds.GetWithContext(nil)
	if err != nil || v.AccessKeyID != "id" || v.SecretAccessKey != "secret" || v.SessionToken != "token" {
		t.Errorf("got %+v, %v", v, err)
	}
}
