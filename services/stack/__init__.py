"""The whole of Attune on one machine: embedded Postgres, three services and their workers, supervised.

`attune up` runs it in the foreground; `attune demo` and `attune replay` run a temporary one of their own.
"""
