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
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
gpu=${GPU:-none}
# The oldest build with everything the gateway relies on: adapters per request,
# slots that can be erased, Unix sockets, --cache-ram.
min_build=8694

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

# version_of COMMAND... prints "VERSION BUILD". The line reads "version: 0.7.0
# (build 11669, commit X)" or, in upstream's builds, "version: 6700 (X)".
version_of() {
	text=$("$@" --version 2>&1) || return 1
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
	[ "${have#* }" -ge "$min_build" ] || return 1
	say "${have% *} (build ${have#* }) is installed, from $(field source)"
}

# on_path prints the llama-server on PATH that is not ours.
on_path() {
	(
		IFS=:
		for folder in $PATH; do
			program=${folder:-.}/llama-server
			# shellcheck disable=SC3013 # not in POSIX, but in every sh there is
			if [ -f "$program" ] && [ -x "$program" ] && [ ! "$program" -ef "$dir/bin/llama-server" ]; then
				printf '%s\n' "$program"
				return 0
			fi
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

# lock lets one installation at a time change the folder. Whatever outlives a
# killed run, such as its apt-get, still holds the lock, so that the next run
# waits for it rather than fetch into the same files.
lock() {
	exec 9<"$dir"
	flock -n 9 && return
	say "another installation is at work here, waiting for it"
	flock 9
}

# sources prints "ADDRESS COMPONENT..." for each of the system's package sources,
# from both of apt's formats.
sources() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		sed -n 's/#.*//; s/\[[^]]*\]//; s/^[[:space:]]*deb[[:space:]]//p'
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] || continue
		awk 'function flush() { if (!off && address != "") print address, components
				off = 0; address = components = "" }
			/^[[:space:]]*$/ { flush() }
			{ key = tolower($1) }
			key == "enabled:" { off = $2 ~ /^(no|false|0)$/ }
			key == "uris:" { address = $2 }
			key == "components:" { $1 = ""; components = $0 }
			END { flush() }' "$file"
	done
}

# mirror prints the address that this system takes Debian from. Other vendors'
# addresses may end in "/debian" too, but those have no component "main".
mirror() {
	sources | awk '$1 ~ /^(mirror\+|tor\+)*(https?|file):.*\/debian(\/|\.list)?$/ && / main( |$)/ { print $1; found = 1; exit }
		END { if (!found) print "http://deb.debian.org/debian" }'
}

# without_ballast prints a package database in which dependencies that
# llama-server never loads pass for installed. Mesa alone would bring 230 MB.
without_ballast() {
	for package in debconf wget openssl-provider-legacy libegl-mesa0; do
		printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\n' "$package" "$arch"
		printf 'Multi-Arch: foreign\nVersion: 999\nMaintainer: none\nDescription: left out\n\n'
	done
}

# private_apt SUITE sets up an apt that knows nothing of this system's packages
# and writes nothing outside of $apt.
private_apt() {
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/empty/partial"
	without_ballast >"$apt/status"
	printf 'deb [signed-by=%s arch=%s] %s %s main\n' "$keyring" "$arch" "$mirror" "$1" >"$apt/sources.list"
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
		APT::Get::AllowUnauthenticated "false";
		APT::Update::Error-Mode "any";
		Acquire::AllowInsecureRepositories "false";
		Acquire::AllowDowngradeToInsecureRepositories "false";
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
	say "reading the package list of Debian $1 from $mirror"
	apt-get -c "$apt/apt.conf" -qq update >"$apt/log" 2>&1 || return 1
	# shellcheck disable=SC2086 # a list of names
	# Asked of an empty cache, as apt leaves out what an interrupted run has
	# fetched, which is to be unpacked all the same.
	apt-get -c "$apt/apt.conf" -o "Dir::Cache::archives=$apt/empty" -qq --print-uris install $packages >"$apt/uris" 2>"$apt/log" || return 1
	awk '{ print $2 }' "$apt/uris" >"$apt/files"
	say "fetching $(wc -l <"$apt/files" | tr -d ' ') packages, $(awk '{ n += $3 } END { printf "%.0f MB", n / 1e6 }' "$apt/uris")"
	# shellcheck disable=SC2086
	apt-get -c "$apt/apt.conf" -qq --download-only install $packages >"$apt/log" 2>&1
}

unpack() {
	say "unpacking"
	rm -rf "$dir/root.new" "$dir/root.old"
	mkdir -p "$dir/root.new"
	while read -r file; do
		dpkg -x "$apt/archives/$file" "$dir/root.new"
	done <"$apt/files"
	lib=$dir/root.new/usr/lib/$triplet
	# Nothing here is looked for under this root but programs and libraries.
	(cd "$dir/root.new" && rm -rf etc var usr/share usr/libexec usr/sbin "$lib/gconv")
	# ggml looks for its backends beside the running program, which here is the
	# dynamic loader. The BLAS one is slower than ggml's own kernels.
	for backend in "$lib"/ggml/backends*/libggml-*.so; do
		[ -e "$backend" ] || cannot "Debian $suite's packages hold no ggml backend where they used to."
		case $backend in *libggml-blas.so) continue ;; esac
		ln -s "${backend#"$lib"/}" "$lib/"
	done
	set -- "$lib/$loader" --library-path "$lib:$lib/llama" "$dir/root.new/usr/bin/llama-server"
	found=$(version_of "$@") || {
		text=$("$@" --version 2>&1) || true
		rm -rf "$dir/root.new"
		cannot "the unpacked llama-server does not run here: $text"
	}
	[ "${found#* }" -ge "$min_build" ] || cannot "Debian $suite has build ${found#* }, older than $min_build."
}

# swap_in puts what unpack left in place of what is there. Nothing counts as
# installed from here until it is recorded.
swap_in() {
	rm -f "$dir/VERSION"
	if [ -e "$dir/root" ]; then mv "$dir/root" "$dir/root.old"; fi
	mv "$dir/root.new" "$dir/root"
	mv "$dir/bin/llama-server.new" "$dir/bin/llama-server"
	rm -rf "$dir/root.old"
	version_of "$dir/bin/llama-server" >/dev/null || cannot "$dir/bin/llama-server does not run: $text"
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
	for tool in apt-get dpkg awk flock; do
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
	mkdir -p "$dir"
	lock
	if installed; then return; fi
	apt=$dir/apt
	mirror=$(mirror)
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
	swap_in
	# Names of package files: name_version_architecture.deb.
	# shellcheck disable=SC2046
	record "${found% *}" "${found#* }" "Debian $suite" $(sed 's/%3a/:/g; s/\.deb$//' "$apt/files")
	rm -rf "$apt"
	say "${found% *} (build ${found#* }) from Debian $suite is ready"
}

case $gpu in none | vulkan) ;; *) cannot "GPU=$gpu is not known; GPU=vulkan is." ;; esac
installed || use_path || use_debian
