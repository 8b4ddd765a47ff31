"""What is shown on the terminal or printed as JSON."""
