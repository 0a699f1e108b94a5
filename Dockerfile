# syntax=docker/dockerfile:1
# walrusd and walrusctl, nothing else: not root, no capabilities, one volume.
#
#   docker build -t distributed-walrus-node .
#   docker run --rm -p 9091:9091 distributed-walrus-node --client-host 0.0.0.0 --client-advertise localhost:9091
#
# A write-ahead log through io_uring needs a seccomp profile that allows io_uring_setup,
# io_uring_enter and io_uring_register. Where the container's forbids them, as Docker's default
# does, walrusd says "no io_uring here" once and writes with pwrite and fdatasync.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The image's own toolchain is the one of rust-toolchain.toml; lints and formatter are not needed.
RUN RUSTUP_TOOLCHAIN=$RUST_VERSION cargo build --locked --profile dist -p walrusd -p walrusctl

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/walrus --shell /usr/sbin/nologin walrus \
    && install -d -o walrus -g walrus -m 0700 /var/lib/walrus
COPY --from=build /src/target/dist/walrusd /src/target/dist/walrusctl /usr/local/bin/
USER walrus
ENV WALRUS_DATA_DIR=/var/lib/walrus
VOLUME /var/lib/walrus
# Clients, other nodes, operators.
EXPOSE 9091 6001 7071
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["walrusctl", "node", "ready"]
ENTRYPOINT ["walrusd"]
