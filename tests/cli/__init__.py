"""The command line: what a person sees, and what a script may rely on."""
