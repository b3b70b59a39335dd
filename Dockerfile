# The image: one static binary, and the public certificate authorities (CAs).
#
#   make image                     # builds the binary within the image that RUST names
#   make static image BINARY=prebuilt
#
# What is shipped has no base image. What builds it is named by its digest: `make image` looks it up.

# Of the version that rust-toolchain.toml names, by digest; with a C compiler and make.
ARG RUST=scratch
# The stage that the binary comes from.
ARG BINARY=build

FROM ${RUST} AS build
WORKDIR /isthmus
COPY . .
# From scratch, where nobody has named an image, this fails.
RUN make static && cp target/static/isthmus target/static/ca-certificates.crt /

FROM scratch AS prebuilt
COPY target/static/isthmus target/static/ca-certificates.crt /

FROM ${BINARY} AS binary

FROM scratch
ARG VERSION
ARG REVISION
# The image that the binary was built in, with its digest, or "prebuilt".
ARG BUILDER
LABEL org.opencontainers.image.title="isthmus" \
      org.opencontainers.image.description="A Kubernetes admission webhook that keeps Istio multicluster meshes sound" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      dev.isthmus.builder="${BUILDER}"
COPY --from=binary --chmod=0755 /isthmus /isthmus
# Of API servers each pod or kubeconfig has the CA; a metadata endpoint may be publicly trusted.
COPY --from=binary --chmod=0644 /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# What is freed goes back at once: glibc would keep tens of megabytes of large bodies for itself.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/isthmus"]
CMD ["serve"]
