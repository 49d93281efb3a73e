#!/usr/bin/env bash
# Builds the images that the demonstration and the tests run: `hello`, and `pause`, which holds a
# pod's namespaces open. Both are one static program, packed by `trireme image pack`, so that no
# registry and no container tool is needed.
#
# The program has no dependencies and is linked statically, so it gets a target folder of its own: its
# flags differ from everything else's. TRIREME names the program that packs; the archives go to
# target/images.
set -euo pipefail

checkout=$(cd "$(dirname "$0")/../.." && pwd)
images="$checkout/target/images"
trireme=${TRIREME:-$checkout/target/release/trireme}
target="$(uname -m)-unknown-linux-gnu"

RUSTFLAGS='-C target-feature=+crt-static -C strip=symbols' cargo build --quiet --release --locked \
    --manifest-path "$checkout/Cargo.toml" --target "$target" --target-dir "$images/build" -p trireme-hello
program="$images/build/$target/release/trireme-hello"

# Packed beside its place and renamed, so that whoever reads the folder sees whole archives.
for name in hello pause; do
    "$trireme" image pack --binary "$program" --name "trireme.local/$name:1" --entrypoint "/$name" \
        --output "$images/.$name.tar.new"
    mv -f "$images/.$name.tar.new" "$images/$name.tar"
done
echo "$images"
