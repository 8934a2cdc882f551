"""Words and tables as docker prints them. Pure: nothing here knows an engine, a terminal or a notebook.

Not here: which verb prints what (``cli``).
"""
