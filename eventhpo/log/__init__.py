"""The log: one SQLite file, append-only and hash-chained, with one writer and any number of readers."""
