#!/bin/sh
# Leaves a runnable llama-server in .llama/bin: the one on PATH if it is recent
# enough, else Debian's packages unpacked into .llama without root and without
# touching the system.
#
#   GPU=vulkan   adds the Vulkan backend
#   LLAMA_DIR    where to install (default: .llama in the repository's root)
#
# Safe to run again at any time: what is there already is kept, and an
# interrupted run goes on where it stopped.
set -eu

dir=${LLAMA_DIR:-$(cd "$(dirname "$0")/../.." && pwd)/.llama}
gpu=${GPU:-none}
# The oldest build with everything the gateway relies on: adapters per request,
# slots that can be erased, Unix sockets, --cache-ram.
min_build=6700

say() { printf 'llama-server: %s\n' "$*"; }

cannot() {
	cat >&2 <<-END
		llama-server: $*

		Install llama-server in one of these ways, so that it is on PATH, and run
		this again:
		  Homebrew         brew install llama.cpp
		  release page     https://github.com/ggml-org/llama.cpp/releases
		  container image  ghcr.io/ggml-org/llama.cpp:server holds it as /app/llama-server
	END
	exit 1
}

# version_of PROGRAM prints "VERSION BUILD". The line reads "version: 0.7.0
# (build 11669, commit X)" or, in upstream's builds, "version: 6700 (X)".
version_of() {
	text=$("$1" --version 2>&1) || return 1
	version=$(printf '%s\n' "$text" | sed -n 's/^version: \([^ ]*\).*/\1/p' | head -n 1)
	build=$(printf '%s\n' "$text" | sed -n 's/^version: .*(build \([0-9][0-9]*\).*/\1/p' | head -n 1)
	[ -n "$version" ] || return 1
	case ${build:=$version} in *[!0-9]*) return 1 ;; esac
	printf '%s %s\n' "$version" "$build"
}

# field NAME prints a line of the record of what is installed.
field() { sed -n "s/^$1: //p" "$dir/VERSION" 2>/dev/null; }

installed() {
	[ -x "$dir/bin/llama-server" ] && [ -s "$dir/VERSION" ] || return 1
	[ "$gpu" = none ] || [ "$(field gpu)" = "$gpu" ] || [ "$(field source)" = PATH ] || return 1
	have=$(version_of "$dir/bin/llama-server") || return 1
	say "${have% *} (build ${have#* }) is installed, from $(field source)"
}

# on_path prints the llama-server on PATH that is not ours.
on_path() {
	(
		IFS=:
		for folder in $PATH; do
			program=${folder:-.}/llama-server
			[ -x "$program" ] && [ ! "$program" -ef "$dir/bin/llama-server" ] || continue
			printf '%s\n' "$program"
			return 0
		done
		return 1
	)
}

use_path() {
	program=$(on_path) || return 1
	case $program in /*) ;; *) program=$PWD/$program ;; esac
	found=$(version_of "$program") || {
		say "$program does not run or does not tell its version, passing over it"
		return 1
	}
	if [ "${found#* }" -lt "$min_build" ]; then
		say "$program is build ${found#* }, older than $min_build, passing over it"
		return 1
	fi
	say "using $program, build ${found#* }"
	mkdir -p "$dir/bin"
	rm -f "$dir/VERSION"
	ln -sfn "$program" "$dir/bin/llama-server"
	record "${found% *}" "${found#* }" PATH "$program"
}

# record VERSION BUILD SOURCE DETAIL... is the last step of every installation.
record() {
	{
		printf 'version: %s\nbuild: %s\nsource: %s\ngpu: %s\n' "$1" "$2" "$3" "$gpu"
		shift 3
		printf 'from: %s\n' "$@"
	} >"$dir/VERSION.new"
	mv "$dir/VERSION.new" "$dir/VERSION"
}

# mirror prints the address that this system takes Debian from.
mirror() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
		sed 's/#.*//' | tr ' \t' '\n\n' | grep -E '^(https?|mirror\+https?)://.*/debian/?$' | head -n 1 |
		grep . || echo http://deb.debian.org/debian
}

# private_apt SUITE sets up an apt that knows nothing of this system's packages
# and writes nothing outside of $apt.
private_apt() {
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	: >"$apt/status"
	printf 'deb [signed-by=%s arch=%s] %s %s main\n' "$keyring" "$arch" "$(mirror)" "$1" >"$apt/sources.list"
	# Read after the system's own configuration, whose proxies and certificates
	# stay in force and whose hooks must not run.
	cat >"$apt/apt.conf" <<-END
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State "$apt";
		Dir::State::Lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt";
		Dir::Cache::archives "$apt/archives";
		Dir::Log "$apt";
		APT::Architecture "$arch";
		APT::Architectures "$arch";
		APT::Sandbox::User "$(id -un)";
		APT::Install-Recommends "false";
		APT::Get::Assume-Yes "true";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::Retries "3";
		Debug::NoLocking "true";
	END
}

# download SUITE fetches the packages and everything they need; apt checks the
# signatures and goes on with what an interrupted run has fetched.
download() {
	private_apt "$1"
	say "reading the package list of Debian $1 from $(mirror)"
	apt-get -c "$apt/apt.conf" -qq update >"$apt/log" 2>&1 || return 1
	# shellcheck disable=SC2086 # a list of names
	apt-get -c "$apt/apt.conf" -qq --print-uris install $packages >"$apt/uris" 2>"$apt/log" || return 1
	awk '{ print $2 }' "$apt/uris" >"$apt/files"
	say "fetching $(wc -l <"$apt/files" | tr -d ' ') packages, $(awk '{ n += $3 } END { printf "%.0f MB", n / 1e6 }' "$apt/uris")"
	# shellcheck disable=SC2086
	apt-get -c "$apt/apt.conf" -qq --download-only install $packages >"$apt/log" 2>&1
}

unpack() {
	say "unpacking"
	rm -rf "$dir/root.new"
	mkdir -p "$dir/root.new"
	while read -r file; do
		dpkg -x "$apt/archives/$file" "$dir/root.new"
	done <"$apt/files"
	rm -rf "$dir/root.new/usr/share/doc" "$dir/root.new/usr/share/man" "$dir/root.new/usr/share/locale"
	lib=$dir/root.new/usr/lib/$triplet
	# ggml looks for its backends beside the running program, which here is the
	# dynamic loader. The BLAS one is slower than ggml's own kernels.
	for backend in "$lib"/ggml/backends*/libggml-*.so; do
		case $backend in *libggml-blas.so) continue ;; esac
		ln -s "${backend#"$lib"/}" "$lib/"
	done
}

write_wrapper() {
	mkdir -p "$dir/bin"
	# exec keeps the process id, which a supervisor signals. Debian's own loader
	# and libc are newer than this system's may be.
	cat >"$dir/bin/llama-server.new" <<-END
		#!/bin/sh
		dir=\$(CDPATH='' cd -- "\$(dirname -- "\$(readlink -f -- "\$0")")/.." && pwd -P) || exit 1
		lib=\$dir/root/usr/lib/$triplet
		exec "\$lib/$loader" --library-path "\$lib:\$lib/llama" "\$dir/root/usr/bin/llama-server" "\$@"
	END
	chmod +x "$dir/bin/llama-server.new"
}

use_debian() {
	[ "$(uname -s)" = Linux ] || cannot "there are no packages for $(uname -s) to unpack."
	for tool in apt-get dpkg awk; do
		command -v "$tool" >/dev/null || cannot "this system has no $tool, so Debian's packages cannot be unpacked."
	done
	arch=$(dpkg --print-architecture)
	case $arch in
	amd64) triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
	arm64) triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
	*) cannot "Debian's packages are used on amd64 and arm64 only, this is $arch." ;;
	esac
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || cannot "$keyring is missing; on a Debian-like system, the package debian-archive-keyring has it."
	packages=llama.cpp-tools
	if [ "$gpu" = vulkan ]; then
		packages="$packages libggml0-backend-vulkan libvulkan1 libegl1 libglvnd0 libx11-6 libxcb1 libxau6 libxdmcp6 libxext6"
	fi
	apt=$dir/apt
	suite=
	for candidate in forky sid; do
		if download "$candidate"; then
			suite=$candidate
			break
		fi
		say "Debian $candidate does not do:"
		sed 's/^/  /' "$apt/log" >&2
	done
	[ -n "$suite" ] || cannot "Debian's packages could not be fetched (see above)."
	unpack
	write_wrapper
	rm -f "$dir/VERSION" # from here on nothing is installed, until it is recorded
	rm -rf "$dir/root"
	mv "$dir/root.new" "$dir/root"
	mv "$dir/bin/llama-server.new" "$dir/bin/llama-server"
	found=$(version_of "$dir/bin/llama-server") || {
		"$dir/bin/llama-server" --version >&2 || true
		cannot "the unpacked llama-server does not run here (see above)."
	}
	[ "${found#* }" -ge "$min_build" ] || cannot "Debian $suite has build ${found#* }, older than $min_build."
	# Names of package files: name_version_architecture.deb.
	# shellcheck disable=SC2046
	record "${found% *}" "${found#* }" "Debian $suite" $(sed 's/%3a/:/g; s/\.deb$//' "$apt/files")
	rm -rf "$apt"
	say "${found% *} (build ${found#* }) from Debian $suite is ready"
}

case $gpu in none | vulkan) ;; *) cannot "GPU=$gpu is not known; GPU=vulkan is." ;; esac
installed || use_path || use_debian
