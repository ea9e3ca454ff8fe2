package s3

import (
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7"

	"freshet.dev/pkg/store"
)

func TestSettings(t *testing.T) {
	parse := func(rawURL string) settings {
		t.Helper()
		u, err := url.Parse(rawURL)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseURL(u)
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
	_, err := environmentCredentials()
	wantText(t, err, store.ErrURL, "AWS_ACCESS_KEY_ID")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token")
	if _, err := environmentCredentials(); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	creds, err := environmentCredentials()
	if err != nil {
		t.Fatal(err)
	}
	v, err := creds.GetWithContext(nil)
	if err != nil || v.AccessKeyID != "id" || v.SecretAccessKey != "secret" || v.SessionToken != "token" {
		t.Errorf("got %+v, %v", v, err)
	}
}
