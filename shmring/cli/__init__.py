"""The command line, one file per command: parsing and printing only.

Everything a command does goes through the public names of shmring; `exits.py` alone knows which error ends a
command with which exit code.
"""
