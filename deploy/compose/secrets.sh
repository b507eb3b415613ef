#!/bin/sh
# Makes the secrets of the compose file, once: each in a file of its own below `secrets`, which only you can enter. What is
# there stays. (The files themselves are readable, because the users inside of the containers have to read them.)
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
make() {
    [ -e "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"
    chmod 644 "secrets/$1"
}
random() { openssl rand -hex 24; }
make admin-token "$(random)"
make metrics-token "$(random)"
make grafana "$(random)"
make postgres-password "$(random)"
make origin-secret "$(random)"
# The same, as those who use it want it.
make postgres-url "postgres://seckill:$(cat secrets/postgres-password)@postgres/shop"
make origin-secret-nginx "map \$host \$origin_secret { default \"$(cat secrets/origin-secret)\"; }"
