"""The modules of run.py."""
