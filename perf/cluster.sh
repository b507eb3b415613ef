#!/usr/bin/env bash
# One engine against two that share one stock: engines on core 0, clients, PostgreSQL and Redis on core 1, interleaved.
# Each node has 64 connections. Prints for each round the requests for a second of core time (what one core of engines can
# do) of refusals and of durable wins, and the calls to Redis for each win; then the medians of two nodes against one.
#   perf/cluster.sh [ROUNDS] [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
seconds=${2:-4}
cargo build --release --locked --workspace
export SECKILL__EDGE__THREADS=1
scratch=$(mktemp -d)
cluster=
stop() { [ -z "$cluster" ] || { kill -TERM "$cluster" 2> /dev/null && wait "$cluster" || true; }; cluster=; }
trap 'stop; rm -rf "$scratch"' EXIT

pin_all() { # core, pid: a process, its threads, its children
  taskset -acp "$1" "$2" > /dev/null
  for child in $(pgrep -P "$2"); do taskset -acp "$1" "$child" > /dev/null || true; done
}
start() { # nodes
  target/release/xtask cluster --nodes "$1" --engine target/release/seckill > "$scratch/cluster" 2> "$scratch/log" &
  cluster=$!
  for _ in $(seq 600); do grep -q 'Ctrl-C' "$scratch/cluster" && break; sleep 0.1; done
  mapfile -t edges < <(sed -n 's|^node.*edge http://\([^ ]*\).*|\1|p' "$scratch/cluster")
  mapfile -t pids < <(sed -n 's|^node.*pid \([0-9]*\).*|\1|p' "$scratch/cluster")
  admin=$(sed -n 's|^node.*admin http://\([^ ]*\).*|\1|p' "$scratch/cluster" | head -1)
  redis=$(sed -n 's|^redis *redis://\([^ /]*\).*|\1|p' "$scratch/cluster")
  for pid in "${pids[@]}"; do pin_all 0 "$pid"; done
  for pid in $(sed -n 's|^\(redis\|postgresql\).*pid \([0-9]*\).*|\2|p' "$scratch/cluster"); do pin_all 1 "$pid"; done
}
sale() { # sku, stock
  curl -sf -o /dev/null -X POST "http://$admin/api/v1/campaigns" \
    -d "{\"campaign\":\"c\",\"sku\":\"$1\",\"price_cents\":100,\"stock\":$2}"
}
until_all_say() { # buyer, sku, pattern
  for edge in "${edges[@]}"; do
    for _ in $(seq 300); do
      curl -s -X POST -H "X-User-ID: $1-$edge" "http://$edge/seckill/c/$2" | grep -q "$3" && break
      sleep 0.05
    done
  done
}
calls() { # those that the engines sent; what a script does inside Redis is not counted
  redis-cli -h "${redis%:*}" -p "${redis#*:}" info commandstats | tr -d '\r' |
    sed -n 's/^cmdstat_\(evalsha\|eval\|ping\):calls=\([0-9]*\).*/\2/p' | awk '{n += $1} END {print n + 0}'
}
load() { # sku, figure of the rate: sums over the nodes of "rate" and "busy cores"
  local place=0 clients=()
  for edge in "${edges[@]}"; do
    taskset -c 1 target/release/client --target "$edge" --path "/seckill/c/$1" --connections 64 \
      --seconds "$seconds" --first-buyer $((place * 100000000)) --pid "${pids[$place]}" > "$scratch/client.$place" &
    clients+=($!)
    place=$((place + 1))
  done
  wait "${clients[@]}"
  cat "$scratch"/client.[0-9]* | awk -v rate="client.$2" \
    '$1 == rate {r += $2} $1 == "client.server_busy" {b += $2} END {printf "%.0f %.3f\n", r, b}'
  rm "$scratch"/client.[0-9]*
}

printf '%-6s %22s %22s %16s\n' nodes "refusals/s per core" "wins/s per core" "Redis calls/win"
for _ in $(seq "$rounds"); do
  for nodes in 1 2; do
    start "$nodes"
    sale few 1
    until_all_say early few '201\|pre_pay\|sold-out'
    until_all_say late few 'sold-out'
    refusals=$(load few rate)
    sale many 50000000
    until_all_say first many 'pre_pay'
    before=$(calls)
    wins=$(load many rate_201)
    after=$(calls)
    echo "$nodes $refusals $wins $before $after $seconds" |
      awk '{printf "%-6d %22.0f %22.0f %16.5f\n", $1, $2 / $3, $4 / $5, ($7 - $6) / ($4 * $8 * 1.1)}' |
      tee -a "$scratch/table"
    stop
  done
done
median() { # nodes, column
  awk -v nodes="$1" -v column="$2" '$1 == nodes {print $column}' "$scratch/table" | sort -n |
    awk '{all[NR] = $1} END {print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2}'
}
for column in 2 3; do
  echo "$column $(median 1 $column) $(median 2 $column)" |
    awk '{printf "%s: two nodes against one for each core used: %.3f\n", $1 == 2 ? "refusals" : "wins", $3 / $2}'
done
