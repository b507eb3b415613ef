# syntax=docker/dockerfile:1
#
#   docker build -t seckill .
#   docker run -p 8080:8080 -v seckill-data:/data -e SECKILL__EDGE__AUTH__ORIGIN_SECRET=... seckill
#
# The edge is open to the container's network, so the engine asks for a secret that your gateway sends (or for
# SECKILL__EDGE__AUTH__INSECURE=true in a test), and for a payment gateway and a risk service that are not simulated
# (SECKILL__CHECKOUT__GATEWAY__KIND=http and ...__RISK__KIND=http with their addresses, or, in a test,
# SECKILL__CHECKOUT__ALLOW_SIMULATED=true). A stop takes up to stop_ms_max (25 s by default) when something hangs:
# docker stop --time 30. The admin API listens inside the container only; to reach it, set
# SECKILL__ADMIN__LISTEN=0.0.0.0:9090 together with SECKILL__ADMIN__TOKEN. A configuration file is named by
# SECKILL_CONFIG, so that the health check reads it too.

# What goes to production names both images by digest, so that the same sources make the same image. A digest cannot be known
# here, where nothing is fetched: ask for that of the day that you test, and keep it with your build.
#
#   digest() { docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'; }
#   docker build --build-arg BUILD_IMAGE="rust@$(digest rust:1.95.0-bookworm)" \
#                --build-arg BASE_IMAGE="debian@$(digest debian:bookworm-slim)" -t seckill .
#
# And name the result by its own digest where it is run: `docker buildx imagetools inspect YOUR/seckill:TAG` says it once it is
# pushed. deploy/kubernetes/kustomization.yaml has the place for it.

ARG BUILD_IMAGE=rust:1.95.0-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src

# The dependencies alone: this layer is built anew only when a manifest changes, or the one member of the workspace that the
# engine is built from. The other members and targets with files of their own (tests, benches) are left out of the manifest
# here, because their files are not copied.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY http2-wire http2-wire
RUN sed -i -e 's/^members = .*/members = []/' -e '/^\[\[/,/^$/d' -e '/^\[dev-dependencies\]/,/^$/d' Cargo.toml \
    && mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --bin seckill

# The engine. Files that are copied may be older than the empty ones that were built: touch makes them newer. Stripped of
# its line tables the binary is a sixth of the size, and a backtrace still names functions.
COPY . .
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin seckill \
    && strip --strip-debug target/release/seckill \
    && mkdir /data

# Debian's smallest image: the binary needs libc, libm and libgcc only.
FROM ${BASE_IMAGE}
RUN useradd --uid 65532 --no-create-home --shell /usr/sbin/nologin nonroot
COPY --from=build /src/target/release/seckill /usr/local/bin/seckill
# Debian's smallest brings no authorities; a database that is asked for with sslmode=verify-full is believed by these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=nonroot:nonroot /data /data
USER nonroot
# These beat a configuration file, which says in vain where the edge listens: so nothing stands here that is the default, and
# who wants something else says it with --env.
ENV SECKILL__DATA_DIR=/data \
    SECKILL__EDGE__LISTEN=0.0.0.0:8080 \
    SECKILL__LOG__FORMAT=json
VOLUME /data
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Asks for life, not readiness: an engine that reads its orders, or whose database is away, is not to be restarted.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/seckill", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/seckill"]
CMD ["serve"]
