#!/bin/sh
# Builds the release archives of all platforms into dist/, with checksums. The same
# commit, built with the same Go, gives the same bytes anywhere.
set -eu
cd "$(dirname "$0")/.."
version=${VERSION:-$(git describe --tags --always --dirty)}
when=$(git log -1 --format=%ct)
rm -rf dist && mkdir -p dist
for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do
	os=${platform%/*} arch=${platform#*/}
	name=loragate-$version-$os-$arch
	echo "release: $name"
	mkdir -p "dist/$name"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFLAGS= \
		go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "dist/$name/gateway" ./cmd/gateway
	cp -r LICENSE README.md CHANGELOG.md config.yaml docs deploy/systemd "dist/$name/"
	# Order, owners, times and modes must not be this machine's.
	tar -C dist --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$name" | gzip -n9 >"dist/$name.tar.gz"
	rm -r "dist/$name"
done
cd dist && sha256sum *.tar.gz >SHA256SUMS && cat SHA256SUMS
