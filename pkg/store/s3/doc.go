// Package s3 implements [store.Store] in an S3 bucket, at Amazon or at another server. The server must support conditional writes
// (If-None-Match: *), because a commit creates a version record only if it does not exist. The first write checks that the server does.
//
// The credentials need to read, write, delete and list objects, and to list and abort multipart uploads.
//
// # URLs
//
//	s3://bucket[/prefix][?endpoint=URL][&region=NAME][&path-style=true|false]
//
// The bucket must exist. All keys start with the prefix. The query may have:
//   - endpoint: the server, as http://host:port or https://host. The default is Amazon's.
//   - region: the default is AWS_REGION, then AWS_DEFAULT_REGION, then us-east-1 for a URL with an endpoint. Without any of these, the
//     client queries Amazon for the region of the bucket.
//   - path-style: whether the bucket is part of the path (true) or of the host name (false). By default the client decides by the host.
//
// The credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. If those are not set, they come from
// AWS_WEB_IDENTITY_TOKEN_FILE or the AWS_CONTAINER_CREDENTIALS_* variables.
//
// Package [store] describes the layout, the durability and the costs.
package s3
