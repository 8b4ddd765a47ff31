"""The header of a message: its fields, and their values as a person reads them. Pure."""
