"""Images from Dockerfiles.

The language comes first, in modules that do no I/O: ``source`` (places and their errors), ``parser`` (text to located
nodes), ``words`` (the shell-like expansion), ``instructions`` (what each instruction says), ``interpret`` (nodes to
instructions, with ``flags`` and ``mounts``), ``expand`` (their words expanded), ``dockerfile`` (the whole file),
``scope`` (build arguments) and ``configure`` (what an instruction does to an image's configuration).

Where the language is concerned, BuildKit's front end (``frontend/dockerfile`` of moby/buildkit) is the rule.
"""
