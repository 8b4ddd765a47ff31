"""Made besides the distributions: the single file, its Debian package, and the picture of the README."""
