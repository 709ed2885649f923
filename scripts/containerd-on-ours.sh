#!/bin/sh
# A private containerd whose content is kept by our service, and the dashboard on it; all of it goes
# when the dashboard ends. With arguments: that command instead of the dashboard, with
# CONTAINERD_ADDRESS set, which ctr looks for. PLACE is the directory that is made for it.
set -eu

place=${PLACE:-/tmp/contentui-containerd}
case $place in /*) ;; *) place=$PWD/$place ;; esac

fail() {
    echo "$1" >&2
    exit 1
}

await() {
    what=$1
    shift
    tries=0
    until "$@" >"$place/await.log" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || fail "$what does not start: $(tail -n 3 "$place/$what.log")"
        sleep 0.1
    done
}

[ "$(id -u)" = 0 ] || fail "a containerd needs root: run it with sudo"
command -v contentui >/dev/null || fail "contentui is not on the PATH: run 'make containerd'"
for tool in containerd ctr; do
    command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install containerd)"
done
mkdir -m 700 "$place" || fail "$place exists: stop what runs there, or remove it after a kill, or set PLACE"

containerd_pid='' service_pid=''
finish() {
    for pid in $containerd_pid $service_pid; do # the daemon first: it uses the service
        kill "$pid" 2>/dev/null || continue
        wait "$pid" || true
    done
    rm -rf --one-file-system "$place"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cat >"$place/config.toml" <<EOF
version = 2
root = "$place/root"
state = "$place/state"
disabled_plugins = ["io.containerd.content.v1.content", "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt"]
[grpc]
  address = "$place/containerd.sock"
[ttrpc]
  address = "$place/containerd.sock.ttrpc"
[proxy_plugins.contentui]
  type = "content"
  address = "$place/content.sock"
EOF

contentui serve --store "$place/store" --listen "unix://$place/content.sock" \
    --for-containerd "$place/root" >"$place/service.log" 2>&1 &
service_pid=$!
await service test -S "$place/content.sock"

containerd --config "$place/config.toml" >"$place/containerd.log" 2>&1 &
containerd_pid=$!
await containerd ctr --address "$place/containerd.sock" version

export CONTAINERD_ADDRESS="$place/containerd.sock"
if [ $# -gt 0 ]; then
    "$@"
    exit
fi
echo "Something to watch, from another terminal:
  ctr -a $CONTAINERD_ADDRESS images pull --snapshotter native docker.io/library/alpine:latest"
if [ -t 0 ]; then
    printf 'Enter opens the dashboard. '
    read -r _
fi
contentui --store "unix://$CONTAINERD_ADDRESS"
