"""Running containers: from options and an image to an OCI bundle, and the adapter to the runtime."""
