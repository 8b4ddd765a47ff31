"""``python -m pop3fetch``."""

from pop3fetch.cli import main

if __name__ == "__main__":
    main()
