package servertest

import (
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestS3KeepsItsDataThroughStopAndKillAndHonoursConditions(t *testing.T) {
	ctx, s := testContext(t), S3(t)
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewEnvAWS(), Region: s3Region, Transport: transport, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var ifAbsent minio.PutObjectOptions
	ifAbsent.SetMatchETagExcept("*")
	put := func() error {
		_, err := client.PutObject(ctx, s.Bucket, "a/key", strings.NewReader("value"), 5, ifAbsent)
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(){"stop": s.Stop, "kill": s.Kill} {
		end()
		if err := s.cmd.ready(ctx); err == nil {
			t.Fatalf("%s: still answers", name)
		}
		s.Start()
		if got := minio.ToErrorResponse(put()).Code; got != minio.PreconditionFailed {
			t.Errorf("%s: a conditional write over the object of before gives %q, want %s", name, got, minio.PreconditionFailed)
		}
	}
}
