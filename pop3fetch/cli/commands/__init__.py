"""One module per command: its arguments and its help. Nothing else is loaded for --help."""
