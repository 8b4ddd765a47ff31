"""Fuzzing: a model of RFC 1939 to compare with, and a target for atheris."""
