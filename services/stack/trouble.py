"""What stops a stack, in words for the person who started it."""


class Trouble(Exception):
    """Something the person at the keyboard can act on; shown as it reads, without a traceback."""
