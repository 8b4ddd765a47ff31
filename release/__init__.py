"""What is made of the sources besides the distributions: the single-file program and the README's picture."""
