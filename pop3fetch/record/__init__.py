"""The record: what an account has fetched, kept so that it is true after any crash.

``place`` has the path of a record and its lock, ``store`` is what it knows and keeps,
``database`` its file, ``states`` what each event makes of a message. ``editing`` has the changes
by hand, and ``moving`` what happens to a record if an address changes.
"""
