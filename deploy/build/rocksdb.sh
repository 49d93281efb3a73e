#!/usr/bin/env bash
# Compiles RocksDB's C++ once a machine into one static library that every cargo profile links.
#
# The build script of `librocksdb-sys` would compile the same 340 files again for each profile, each
# set of flags and each checkout. This script lets it run once, keeps the archive and the matching
# headers under the user's cache folder, and links them as `.cargo/rocksdb`, where
# `.cargo/config.toml` points the build script at them.
#
# The cache key names everything that changes the archive: the crate's version, the compiler and the flags.
set -euo pipefail

ROCKSDB_CRATE_VERSION=0.25.0
# SSE4.2 and PCLMULQDQ give RocksDB its fast CRC32C. Every x86-64 server since 2010 has both.
case "$(uname -m)" in
    x86_64) CPU_FLAGS="-Ctarget-cpu=x86-64-v2 -Ctarget-feature=+pclmulqdq" ;;
    *) CPU_FLAGS="" ;;
esac

checkout=$(cd "$(dirname "$0")/../.." && pwd)
cache_root=${TRIREME_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/trireme}
key=$(printf '%s\n' "$ROCKSDB_CRATE_VERSION" "$CPU_FLAGS" "$(c++ -dumpfullversion -dumpversion)" "$(uname -m)" |
    sha256sum | cut -c1-16)
cache="$cache_root/rocksdb-$ROCKSDB_CRATE_VERSION-$key"

link_into_checkout() {
    mkdir -p "$checkout/.cargo"
    ln -sfn "$cache" "$checkout/.cargo/rocksdb"
}

if [ -f "$cache/lib/librocksdb.a" ]; then
    link_into_checkout
    exit 0
fi

mkdir -p "$cache_root"
exec 9>"$cache_root/rocksdb.lock"
if ! flock --nonblock 9; then
    echo "rocksdb: another build of the same library is running; waiting for it"
    flock 9
fi
if [ -f "$cache/lib/librocksdb.a" ]; then
    link_into_checkout
    exit 0
fi

work=$(mktemp -d "$cache_root/rocksdb-build.XXXXXX")
build_pid=
cleanup() {
    if [ -n "$build_pid" ] && kill -0 "$build_pid" 2>/dev/null; then
        kill "$build_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

mkdir -p "$work/crate/src"
cat >"$work/crate/Cargo.toml" <<TOML
[package]
name = "rocksdb-prebuild"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
rocksdb = { version = "=$ROCKSDB_CRATE_VERSION", default-features = false, features = ["lz4", "bindgen-runtime"] }
TOML
echo 'fn main() {}' >"$work/crate/src/main.rs"

echo "rocksdb: compiling RocksDB once for this machine (15 to 25 minutes on two cores)"
(
    cd "$work/crate"
    unset ROCKSDB_LIB_DIR ROCKSDB_STATIC ROCKSDB_INCLUDE_DIR CARGO_TARGET_DIR
    RUSTFLAGS="$CPU_FLAGS" exec cargo build --release --quiet --target-dir "$work/target"
) >"$work/log" 2>&1 &
build_pid=$!

started=$SECONDS
reported=-1
while kill -0 "$build_pid" 2>/dev/null; do
    sleep 5
    compiled=$(find "$work/target" -path '*librocksdb-sys-*' -name '*.o' 2>/dev/null | wc -l)
    if [ "$((compiled / 20))" -ne "$reported" ]; then
        reported=$((compiled / 20))
        echo "rocksdb: $compiled of about 345 files compiled, $((SECONDS - started)) s"
    fi
done
if ! wait "$build_pid"; then
    cat "$work/log" >&2
    echo "rocksdb: the build failed; its output is above. It needs g++, libclang and 2 GB of memory." >&2
    exit 1
fi
build_pid=

archive=$(find "$work/target" -path '*librocksdb-sys-*' -name librocksdb.a | head -1)
headers=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name 'librocksdb-sys-*' |
    sort | tail -1)/rocksdb/include
[ -n "$archive" ] && [ -d "$headers" ]
staged="$work/staged"
mkdir -p "$staged/lib"
cp "$archive" "$staged/lib/"
cp -r "$headers" "$staged/include"
mkdir -p "$cache_root"
rm -rf "$cache"
mv "$staged" "$cache"
link_into_checkout
echo "rocksdb: done in $((SECONDS - started)) s"
