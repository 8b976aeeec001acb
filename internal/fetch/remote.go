package fetch

import (
	"context"
	"errors"
	"io"
)

// reporter is told how many bytes are there of how many; a total below 1 is not known.
type reporter = func(done, total int64)

// stream is an answer to a request for a file's bytes.
type stream struct {
	body  io.Reader
	close func() error
	from  int64  // which byte body begins with: the one asked for, or 0
	total int64  // the whole file's size; -1 is not known
	etag  string // of this version of the file; "" is not known
}

// remote is one file that can be downloaded.
type remote struct {
	name   string // the file's, in the folder of the download
	size   int64  // -1 is not known beforehand
	sha256 string // "" is not known beforehand
	// open asks for the bytes from an offset on, of the version that has etag.
	// The server may send all bytes of another version instead.
	open func(ctx context.Context, from int64, etag string) (*stream, error)
}

// plan is what there is to download for a source.
type plan struct {
	files     []remote // one file, or a PEFT adapter's: the weights last
	peft      bool
	format    string // what the file's name says it is
	validator string // "": the downloaded file's ETag
}

var (
	// errNotModified is returned by a remote that still has the version that is known.
	errNotModified = errors.New("not modified")
	// errRestart is returned by a remote that cannot go on with a part: the file has changed
	// since.
	errRestart = errors.New("the file has changed")
	// errReplaced is returned by a remote whose plan is out of date.
	errReplaced = errors.New("the file was replaced by another")
)
