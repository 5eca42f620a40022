# syntax=docker/dockerfile:1
#
# The image holds one program, the few libraries it is linked to, certificate authorities and an empty state directory:
# no shell, no package manager, nobody but an unprivileged user. The libraries are copied rather than linked in, because
# a static glibc cannot look up names without them, and a static musl build would mean another C toolchain for aws-lc.

FROM rust:1.95-slim-trixie AS builder
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
# Not built here, but cargo wants every target of the manifest to exist.
COPY tests tests
COPY benches benches
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin mayfly \
    && install -D target/release/mayfly /image/usr/local/bin/mayfly
RUN ldd /image/usr/local/bin/mayfly | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' \
    | xargs cp --parents --dereference --target-directory=/image
RUN mkdir -p /image/etc && mkdir -m 0700 /state \
    && echo 'mayfly:x:10001:10001::/var/lib/mayfly:/none' > /image/etc/passwd \
    && echo 'mayfly:x:10001:' > /image/etc/group \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
COPY --from=builder /image /
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder --chown=10001:10001 /state /var/lib/mayfly
USER 10001:10001
VOLUME /var/lib/mayfly
EXPOSE 7440
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/mayfly", "health"]
ENTRYPOINT ["/usr/local/bin/mayfly"]
CMD ["serve", "--config", "/etc/mayfly/mayfly.toml"]
