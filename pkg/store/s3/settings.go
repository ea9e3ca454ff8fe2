package s3

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"freshet.dev/pkg/store"
)

const (
	amazonEndpoint = "https://s3.amazonaws.com"
	// defaultRegion is the region that servers other than Amazon's expect in a signature by default.
	defaultRegion = "us-east-1"
)

// settings is the content of a store's URL.
type settings struct {
	bucket   string
	prefix   string // "" or ends with /
	endpoint *url.URL
	region   string
	lookup   minio.BucketLookupType
	text     string // the URL
}

// parseURL parses the URL of a store. It adds the region of the environment if the URL has none.
func parseURL(u *url.URL) (settings, error) {
	fail := func(err error) (settings, error) {
		return settings{}, fmt.Errorf("%w: s3 bucket %q: %w", store.ErrURL, u.Host, err)
	}
	s := settings{bucket: u.Host, text: u.String()}
	if err := checkBucket(u); err != nil {
		return fail(err)
	}
	var err error
	if s.prefix, err = parsePrefix(u.Path); err != nil {
		return fail(err)
	}
	query, err := parseQuery(u.RawQuery)
	if err != nil {
		return fail(err)
	}
	if s.lookup, err = parsePathStyle(query["path-style"]); err != nil {
		return fail(err)
	}
	if s.endpoint, err = parseEndpoint(query["endpoint"]); err != nil {
		return fail(err)
	}
	s.region = chooseRegion(query)
	return s, nil
}

// checkBucket checks the parts of the URL before the prefix, and refuses the parts that the URL of a store does not have.
func checkBucket(u *url.URL) error {
	switch {
	case u.User != nil:
		return errors.New("credentials do not belong in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Scheme != "s3" || u.Host == "" || u.Opaque != "" || u.Fragment != "":
		return errors.New("want s3://bucket/prefix?endpoint=URL")
	}
	return s3utils.CheckValidBucketName(u.Host)
}

// parsePrefix returns the prefix of all keys for the path of the URL: "", or a text that ends with a slash.
func parsePrefix(path string) (string, error) {
	path = strings.Trim(path, "/")
	if path == "" {
		return "", nil
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("the prefix %q has an empty, . or .. part", path)
		}
	}
	return path + "/", nil
}

// parseQuery returns the parameters of the query. It refuses unknown names, and names that have no value or several values.
func parseQuery(rawQuery string) (map[string]string, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errors.New("its query is malformed") // err quotes the query, which may contain a password
	}
	query := make(map[string]string, len(values))
	for name, all := range values {
		switch {
		case name != "endpoint" && name != "region" && name != "path-style":
			return nil, fmt.Errorf("its query has the unknown name %.40q; known are endpoint, region and path-style", name)
		case len(all) != 1 || all[0] == "":
			return nil, fmt.Errorf("the query's %s needs one value", name)
		}
		query[name] = all[0]
	}
	return query, nil
}

// parsePathStyle returns the position of the bucket in requests; an empty text leaves it to the client.
func parsePathStyle(text string) (minio.BucketLookupType, error) {
	if text == "" {
		return minio.BucketLookupAuto, nil
	}
	inPath, err := strconv.ParseBool(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("path-style is true or false, not %q", text)
	case inPath:
		return minio.BucketLookupPath, nil
	}
	return minio.BucketLookupDNS, nil
}

// parseEndpoint returns the server's URL; an empty text stands for Amazon's.
func parseEndpoint(text string) (*url.URL, error) {
	if text == "" {
		text = amazonEndpoint
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("its endpoint is not of the form http://host:port or https://host (without user, path, query or fragment)")
	}
	return u, nil
}

// chooseRegion returns the region for signatures; an empty text makes the client query Amazon for it.
func chooseRegion(query map[string]string) string {
	for _, region := range []string{query["region"], os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if region != "" {
			return region
		}
	}
	if query["endpoint"] != "" {
		return defaultRegion
	}
	return ""
}

// environmentCredentials returns the credentials that the environment names. It fails if there are none, because the client would send
// unsigned requests, and the server's refusal does not say what is missing.
func environmentCredentials() (*credentials.Credentials, error) {
	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	switch {
	case id != "" && secret != "":
		return credentials.NewEnvAWS(), nil
	case id != "" || secret != "":
		return nil, fmt.Errorf("%w: only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set", store.ErrURL)
	}
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		if os.Getenv(name) != "" {
			return credentials.NewIAM(""), nil
		}
	}
	return nil, fmt.Errorf("%w: no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", store.ErrURL)
}
