#!/usr/bin/env bash
# The client's processor time for one request, beside wrk's: both in a closed loop over 64 connections against the same
# fixed-reply server, server on one core, client on the other, interleaved. Needs wrk, taskset and a release build:
#   cargo build --release -p loadtest --examples --bins && loadtest/perf/client_cost.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
seconds=${2:-5}
address=127.0.0.1:8089
scratch=$(mktemp -d)
taskset -c 0 target/release/examples/fixed_reply "$address" &
server=$!
trap 'kill $server; rm -rf "$scratch"' EXIT
sleep 0.5

cat > "$scratch/post.lua" <<'LUA'
wrk.method = "POST"
wrk.path = "/seckill/cost/unit"
wrk.headers["X-Tenant-ID"] = "default"
wrk.headers["X-User-ID"] = "b1000000000"
LUA
scenario() { # name, load
  cat <<TOML
name = "cost"
about = "The client's own cost."
[client]
connections = 64
busy_max = 1e9
lag_p99_ms_max = 1e9
[[campaign]]
name = "none"
stock = 1
[[shopper]]
name = "buyer"
[[phase]]
name = "load"
duration_s = $seconds
load = $1
TOML
}
scenario '{ curve = "closed" }' > "$scratch/closed.toml"
scenario '{ curve = "constant", rate_per_s = 20000 }' > "$scratch/open.toml"

# Runs a command and prints its user and system seconds.
cpu_s() { { /usr/bin/env bash -c 'TIMEFORMAT="%U %S"; time "$@" > "$0" 2>&1' "$@"; } 2>&1 | tail -1; }

printf '%-18s %12s %14s\n' client "requests/s" "CPU us/request"
for _ in $(seq "$rounds"); do
  cpu=$(cpu_s "$scratch/wrk.out" taskset -c 1 wrk -t1 -c64 -d"${seconds}s" -s "$scratch/post.lua" "http://$address")
  requests=$(awk '/requests in/ {print $1}' "$scratch/wrk.out")
  awk -v c="$cpu" -v n="$requests" -v s="$seconds" 'BEGIN {split(c, t, " "); printf "%-18s %12.0f %14.2f\n", "wrk", n / s, (t[1] + t[2]) * 1e6 / n}'
  for model in closed open; do
    cpu=$(cpu_s "$scratch/lt.out" taskset -c 1 target/release/loadtest run "$scratch/$model.toml" --no-verify --quiet \
      --target "http://$address" --admin "http://$address" --out "$scratch/$model")
    requests=$(awk '$1 == "seckill" {print $2}' "$scratch/lt.out")
    awk -v c="$cpu" -v n="$requests" -v s="$seconds" -v m="$model" 'BEGIN {split(c, t, " "); printf "%-18s %12.0f %14.2f\n", "loadtest " m, n / s, (t[1] + t[2]) * 1e6 / n}'
  done
done
