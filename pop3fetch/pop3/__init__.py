"""The protocol and its client: a library in itself, which knows nothing of the other rooms."""
