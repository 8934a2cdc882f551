"""Images in motion: a small client of the OCI distribution-spec, and pull, push and login made of it.

The way of the data is drawn in ARCHITECTURE.md. Nothing is imported here: the HTTP library costs 50 ms, which only
who speaks with a registry pays. https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""
