package fetch

import (
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/httpkit"
)

// objects is an S3 object store.
type objects struct {
	core  *minio.Core
	stall time.Duration // for how long nothing may come
}

// S3Options say how to reach an object store. Credentials come from the
// environment, as for AWS's own tools; without any, requests are anonymous.
type S3Options struct {
	Endpoint string // host[:port] or URL; "" is AWS
	Region   string // "" asks the server
	Insecure bool   // plain HTTP
}

func newObjects(o S3Options, web *web) (*objects, error) {
	endpoint, secure := o.Endpoint, !o.Insecure
	if endpoint == "" {
		endpoint = "s3.amazonaws.com"
	}
	if strings.Contains(endpoint, "://") {
		u, err := baseURL(endpoint)
		if err != nil {
			return nil, err
		}
		if u.Scheme == "http" && secure && !httpkit.Loopback(u.Hostname()) {
			return nil, failure.BadSource.New(
				"the S3 endpoint %s is plain HTTP: allow it with insecure, or use https://", u.Host)
		}
		endpoint, secure = u.Host, u.Scheme == "https"
	}
	transport := web.client.Transport
	if t, ok := transport.(*http.Transport); ok {
		// Else net/http would unpack what was stored packed.
		t = t.Clone()
		t.DisableCompression = true
		transport = t
	}
	core, err := minio.NewCore(endpoint, &minio.Options{
		Creds: awsCredentials(), Secure: secure, Region: o.Region, Transport: transport,
		MaxRetries: 1, // a transfer has its own
	})
	if err != nil {
		return nil, failure.BadSource.New("the S3 endpoint %q cannot be used: %v", o.Endpoint, err).Because(err)
	}
	return &objects{core, web.stall}, nil
}

// awsCredentials looks where AWS's tools look. The services of a cloud machine
// are asked only if the environment says that there are some: elsewhere the
// question would only be answered by a timeout.
func awsCredentials() *credentials.Credentials {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		if os.Getenv(name) != "" {
			chain = append(chain, &credentials.IAM{})
			break
		}
	}
	return credentials.NewChainCredentials(chain)
}
