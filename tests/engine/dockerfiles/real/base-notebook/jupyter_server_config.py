c = get_config()  # noqa: F821 - Jupyter puts it there
