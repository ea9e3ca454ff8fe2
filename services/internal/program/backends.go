package program

import (
	"fmt"
	"io"
	"slices"

	"freshet.dev/services/internal/settings"
)

// s3Help is shown for a program that opens a store.
const s3Help = `
S3, for a store at s3://bucket/prefix?endpoint=URL&region=REGION&path-style=true:
  credentials   AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with AWS_SESSION_TOKEN if they are temporary; without them, the role
                that AWS gives a pod or task
  endpoint      http://host:port or https://host of the service; Amazon S3 if not set
  region        else AWS_REGION or AWS_DEFAULT_REGION; with an endpoint, us-east-1 if none is set
  path-style    true for endpoint/bucket/key, false for bucket.endpoint/key; chosen by the endpoint if not set
  permissions   s3:ListBucket and s3:GetObject; a publisher also s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and
                s3:ListBucketMultipartUploads
  requirements  The bucket must exist. The service must support conditional writes (If-None-Match: *): a publisher refuses a
                service that ignores them.
`

// natsHelp is shown for a program that connects to NATS.
const natsHelp = `
NATS, at nats://user:password@host:port or nats://token@host:port (also tls://, ws://, wss://):
  JetStream    enabled for the user's account, with file storage
  stream       FRESHET with the subjects freshet.v1.versions.>; in a namespace such as staging, FRESHET_STAGING with
               freshet.v1.ns.staging.versions.>. A publisher creates the stream.
  limits       10,000 events of each dataset in a new stream, without a bound in bytes unless the account requires one
               (the publisher's FRESHET_NATS_MAX_BYTES); an event has at most 1 MiB, the default max_payload of a NATS server
  permissions  to publish and subscribe: freshet.v1.>, $JS.API.>, $SRV.> and _INBOX.>
`

// backendHelp writes what the program's backends require, by the variables that name them.
func backendHelp(w io.Writer, cfg Config) error {
	names, err := settings.Names(cfg)
	if err != nil {
		return err
	}
	for _, section := range []struct{ variable, text string }{{"FRESHET_STORE_URL", s3Help}, {"FRESHET_NATS_URL", natsHelp}} {
		if !slices.Contains(names, section.variable) {
			continue
		}
		if _, err := fmt.Fprint(w, section.text); err != nil {
			return err
		}
	}
	return nil
}
