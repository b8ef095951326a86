"""The ``raylift`` command: one module per subcommand, and the table of them in ``main``.

A command's module has ``Arguments`` (a dataclass, or a union of them), ``main(arguments, console)`` and a docstring,
which ``--help`` prints. ``jobs/*.py`` and ``tuning/*.py`` start the same modules, for ``ray job submit``.
"""
