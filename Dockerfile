# syntax=docker/dockerfile:1

FROM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
WORKDIR /src
COPY . .
# With the list of its crates in it: `cargo audit bin`. What has been compiled is kept in the builder's caches, and left out
# of the image. The C library is linked in; with --target, what runs during the build is spared that.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    target=$(rustc --print host-tuple) \
    && cargo install cargo-auditable --version 0.7.7 --locked --quiet --root target/tools \
    && PATH="/src/target/tools/bin:$PATH" RUSTFLAGS='-C target-feature=+crt-static' cargo auditable build --release --locked \
        --package botfarm-cli --features otel --target "$target" \
    && cp "target/$target/release/botfarm" /botfarm
# A volume that is mounted there for the first time gets its owner from here.
RUN mkdir --mode=700 /data

# Nothing but what is copied here: no C library, no shell, and nobody's releases to follow.
FROM scratch
LABEL org.opencontainers.image.title="botfarm" \
      org.opencontainers.image.source="https://github.com/botfarm/botfarm" \
      org.opencontainers.image.licenses="MIT"
# The authorities of certificates, for a PostgreSQL, a collector of traces or another service that speaks TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=0555 /botfarm /usr/local/bin/botfarm
# By number, so that Kubernetes sees that it is not root.
USER 65532:65532
WORKDIR /home/nonroot
# Where the farm is kept unless BOTFARM_STORE says otherwise: mount a volume there, or it goes with the container.
COPY --from=build --chown=65532:65532 /data /home/nonroot/botfarm-data
# Open to others than the container: it starts with BOTFARM_AUTH alone.
ENV BOTFARM_LISTEN=0.0.0.0:8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/botfarm", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/botfarm"]
CMD ["serve"]
