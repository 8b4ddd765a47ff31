"""The record: what an account has fetched, kept so that no crash makes it lie.

``place`` says where a record is and holds its lock, ``store`` is the database, ``journal`` is
what a delivery tells it.
"""
