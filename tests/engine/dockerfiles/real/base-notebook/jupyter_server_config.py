"""The server's settings, as docker-stacks have them."""

c = get_config()  # noqa: F821 - Jupyter gives it
