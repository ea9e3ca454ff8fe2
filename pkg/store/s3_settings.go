package store

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	amazonEndpoint = "https://s3.amazonaws.com"
	// defaultRegion is what servers other than Amazon's expect in a signature unless they are told otherwise.
	defaultRegion = "us-east-1"
)

// s3Settings is what the URL says.
type s3Settings struct {
	bucket   string
	prefix   string // "" or ends with /
	endpoint *url.URL
	region   string
	lookup   minio.BucketLookupType
	text     string // the URL
}

func parseS3(u *url.URL) (s3Settings, error) {
	s := s3Settings{bucket: u.Host, text: u.String()}
	bad := func(format string, args ...any) (s3Settings, error) {
		return s3Settings{}, fmt.Errorf("%w: s3 bucket %q: "+format, append([]any{ErrURL, u.Host}, args...)...)
	}
	if u.User != nil {
		return bad("credentials do not belong in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Host == "" || u.Opaque != "" || u.Fragment != "" {
		return bad("want s3://bucket/prefix?endpoint=URL")
	}
	if err := s3utils.CheckValidBucketName(u.Host); err != nil {
		return bad("%w", err)
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		for part := range strings.SplitSeq(prefix, "/") {
			if part == "" || part == "." || part == ".." {
				return bad("the prefix %q has an empty, . or .. part", prefix)
			}
		}
		s.prefix = prefix + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its query is malformed")
	}
	endpoint := amazonEndpoint
	for name, values := range query {
		value := values[len(values)-1]
		switch {
		case len(values) > 1 || value == "":
			return bad("the query's %s needs one value", name)
		case name == "endpoint":
			endpoint = value
		case name == "region":
			s.region = value
		case name == "path-style":
			path, err := strconv.ParseBool(value)
			if err != nil {
				return bad("path-style is true or false, not %q", value)
			}
			s.lookup = minio.BucketLookupDNS
			if path {
				s.lookup = minio.BucketLookupPath
			}
		default:
			return bad("its query has the unknown name %.40q; known are endpoint, region and path-style", name)
		}
	}
	if s.endpoint, err = url.Parse(endpoint); err != nil || s.endpoint.Host == "" || s.endpoint.User != nil ||
		s.endpoint.Scheme != "http" && s.endpoint.Scheme != "https" || strings.Trim(s.endpoint.Path, "/") != "" {
		return bad("its endpoint is not of the form http://host:port or https://host (without user or path)")
	}
	if s.region == "" {
		s.region = os.Getenv("AWS_REGION")
	}
	if s.region == "" {
		s.region = os.Getenv("AWS_DEFAULT_REGION")
	}
	if s.region == "" && query.Has("endpoint") {
		s.region = defaultRegion
	}
	return s, nil
}

// s3Credentials returns the credentials that the environment names. Without any, the library would send requests
// that are not signed, whose refusal does not say what is missing.
func s3Credentials() (*credentials.Credentials, error) {
	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	switch {
	case id != "" && secret != "":
		return credentials.NewEnvAWS(), nil
	case id != "" || secret != "":
		return nil, fmt.Errorf("%w: only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set", ErrURL)
	}
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		if os.Getenv(name) != "" {
			return credentials.NewIAM(""), nil
		}
	}
	return nil, fmt.Errorf("%w: no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", ErrURL)
}
