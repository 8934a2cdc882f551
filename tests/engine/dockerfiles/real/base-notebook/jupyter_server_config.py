c = get_config()  # noqa: F821 - Jupyter gives it
